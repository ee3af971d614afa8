"""`bench score` on folders of label maps and on a data set's split."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets.shapes import Shapes
from harness.metrics import Evaluator
from tests.conftest import Bench


def write(folder: Path, name: str, labels: np.ndarray, palette: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    if palette:
        image.putpalette([9 * v % 256 for v in range(768)])
        assert image.mode == "P"
    image.save(folder / f"{name}.png")


@pytest.fixture
def folders(home: Path) -> tuple[Path, Path]:
    """Four targets with void, in palette colours, and grey predictions."""
    rng = np.random.default_rng(0)
    for name in "abcd":
        target = rng.integers(0, 3, (6, 8)).repeat(5, 0).repeat(5, 1)
        write(home / "predictions", name, np.roll(target, 2, 1))
        target[:, 20:22] = 255
        write(home / "targets", name, target, palette=True)
    return home / "predictions", home / "targets"


def test_a_folder_is_scored_as_the_evaluator_scores_it(bench: Bench, folders: tuple[Path, Path], home: Path) -> None:
    predictions, targets = folders
    words = ("score", "--predictions", predictions, "--targets", targets, "--num-classes", 3)
    done = bench(*words, "--json", "scores.json")
    written = json.loads((home / "scores.json").read_text())
    evaluator = Evaluator(3)
    for name in "abcd":
        maps = [np.asarray(Image.open(folder / f"{name}.png")) for folder in folders]
        evaluator.update(*maps, name)
    expected = evaluator.compute()
    assert written == json.loads(json.dumps(expected.to_dict()))
    assert f"{expected.values['miou']:.4f}" in done.stdout
    assert not (home / "results.db").exists()
    printed = bench(*words, "--json", "-", "--set", "void=mask")
    assert json.loads(printed.stdout)["protocol"]["void"] == "mask"


def test_regions_and_a_foreground(bench: Bench, home: Path) -> None:
    target = np.zeros((10, 10))
    target[:, 5:] = 1
    write(home / "t", "x", target)
    write(home / "p", "x", np.ones((10, 10)))
    write(home / "v", "x", target * 255)
    done = bench(
        "score", "-p", "p", "--targets", "t", "--num-classes", 2, "--valid", "v", "--foreground", 1, "--json", "-"
    )
    scores = json.loads(done.stdout)
    assert scores["sensitivity"] == scores["foreground"]["iou"] == 1
    assert scores["specificity"] is None


def test_everything_that_is_wrong_is_named_and_nothing_is_scored(
    bench: Bench, folders: tuple[Path, Path], home: Path
) -> None:
    predictions, targets = folders
    words = ("score", "--predictions", predictions, "--targets", targets, "--num-classes", 3, "--json", "s.json")
    (predictions / "b.png").rename(predictions / "z.png")
    done = bench(*words, check=False)
    assert done.returncode == 2
    assert f"{predictions / 'b'}.png: this prediction is missing" in done.stderr
    assert f"{predictions / 'z'}.png: no image of that name" in done.stderr
    assert "1 missing, 1 too many, of 4 expected" in done.stderr
    (predictions / "z.png").unlink()
    write(predictions, "b", np.zeros((4, 5)))
    write(predictions, "c", np.full((30, 40), 7))
    Image.new("RGB", (40, 30)).save(predictions / "d.png")
    done = bench(*words, check=False)
    assert done.returncode == 2
    assert "b.png: the prediction is 5×4, its target 40×30" in done.stderr
    assert "c.png: the prediction holds label(s) 7" in done.stderr
    assert "d.png: a mask must be a palette or grey image" in done.stderr
    assert "3 of 4 predictions cannot be scored" in done.stderr
    assert not (home / "s.json").exists()
    for wrong, message in (
        (("--targets", "nowhere", "--num-classes", 3), "nowhere: there is no such folder"),
        (("--targets", targets), "--targets needs --num-classes"),
        ((), "either --targets DIR or --dataset NAME"),
        (("--dataset", "shaps"), "Did you mean 'shapes'"),
        (("--dataset", "shapes", "--split", "train"), "choose val or test"),
        (("--targets", targets, "--num-classes", 3, "--set", "voids=mask"), "voids"),
        (("--targets", targets, "--num-classes", 3, "--as", "me"), "--as needs --dataset"),
        (("--dataset", "shapes", "--pretrained-on", "COCO"), "--pretrained-on needs --as"),
        (("--dataset", "shapes", "--as", "me", "--pretrained-on", "COCO, none"), "--pretrained-on: 'COCO, none' names"),
    ):
        done = bench("score", "--predictions", predictions, *wrong, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert message in done.stderr


def shapes_predictions(home: Path) -> Path:
    """The truth of the generated test images with a stripe of background, as a stranger's predictions."""
    folder = home / "out"
    dataset = Shapes(home / "data" / Shapes.folders[0])
    for image_id in dataset.ids("test"):
        labels = dataset.read(image_id).mask.copy()
        labels[labels == 255] = 0
        labels[:, 30:34] = 0
        write(folder, image_id, labels)
    return folder


@pytest.mark.slow
@pytest.mark.long
def test_a_submission_is_ranked_with_the_suite_that_scored_the_same_images(
    bench: Bench, home: Path, finished: Path
) -> None:
    shutil.copy(finished, home / "results.db")
    folder = shapes_predictions(home)
    words = ("score", "--dataset", "shapes", "--split", "test", "--predictions", folder)
    alone = bench(*words, "--json", "-")
    done = bench(*words, "--as", "striped", "--json", "-")
    scores = json.loads(done.stdout)
    assert scores == json.loads(alone.stdout)
    assert "Ranked as 'striped' in: tiny" in done.stderr
    rows = json.loads(bench("export", "json").stdout)
    (ours,) = [r for r in rows if r["model"] == "striped"]
    assert (ours["group"], ours["rank"]) == ("label maps from outside", 1)
    assert ours["metrics"]["miou"]["mean"] == scores["miou"]
    assert rows[0]["scores_from"] == "training", "better label maps from outside stand above nobody"
    assert rows[0]["rank"] == 1
    assert rows[0]["metrics"]["miou"]["mean"] < scores["miou"]
    table = bench("export", "markdown").stdout
    assert "striped ‡" in table
    bench("export", "latex")
    assert "come from elsewhere" in bench("why", _run_id(home, "striped")).stdout
    again = bench(*words, "--as", "striped")
    assert "Ranked" in again.stderr, "the same predictions may come twice"
    write(folder, sorted(folder.iterdir())[0].stem, np.zeros((64, 64)))
    other = bench(*words, "--as", "striped", check=False)
    assert other.returncode == 2
    assert "has other predictions for test already" in other.stderr
    assert not list((home / "results.artifacts").rglob("*.partial"))
    bench(*words, "--as", "striped", "--seed", 1)
    mine = [r for r in json.loads(bench("export", "json").stdout) if r["model"] == "striped"]
    assert [r["n_runs"] for r in mine] == [2]


def _run_id(home: Path, model: str) -> int:
    with sqlite3.connect(home / "results.db") as connection:
        (number,) = connection.execute("select id from runs where model = ?", (model,)).fetchone()
    return int(number)


def test_a_submission_makes_a_board_of_its_own_where_there_is_none(bench: Bench, home: Path) -> None:
    folder = shapes_predictions(home)
    done = bench("score", "--dataset", "shapes", "--predictions", folder, "--as", "first")
    assert "in: external" in done.stderr
    (row,) = json.loads(bench("export", "json").stdout)
    assert (row["suite"], row["model"], row["rank"]) == ("external", "first", 1)
    kept = next((home / "results.artifacts").glob("*/predictions/test"))
    again = bench("score", "--dataset", "shapes", "--predictions", kept, "--json", "-")
    assert json.loads(again.stdout)["miou"] == row["metrics"]["miou"]["mean"]


@pytest.mark.slow
@pytest.mark.long
def test_a_submission_says_what_its_maker_was_pretrained_on_at_once_or_later(bench: Bench, home: Path) -> None:
    words = ("score", "--dataset", "shapes", "--predictions", shapes_predictions(home))
    bench(*words, "--as", "later")
    bench(*words, "--as", "once", "--pretrained-on", "ImageNet-1k, COCO")
    before = {r["model"]: (r["pretrained_on"], r["rank"]) for r in json.loads(bench("export", "json").stdout)}
    assert before == {"later": (None, 1), "once": (["COCO", "ImageNet"], 1)}, "each ranked in itself"
    bench(*words, "--as", "later", "--pretrained-on", "Shapes (generated)")
    bench(*words, "--as", "once")
    after = {r["model"]: (r["pretrained_on"], r["saw_test"]) for r in json.loads(bench("export", "json").stdout)}
    assert after == {"later": (["Shapes (generated)"], True), "once": (["COCO", "ImageNet"], False)}
