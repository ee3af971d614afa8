"""`bench score` on folders of label maps and on a data set's split."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.datasets import manifest_of, open_dataset
from harness.datasets.checkup import check
from harness.datasets.shapes import Shapes
from harness.errors import BenchError, DataError
from harness.metrics import Evaluator
from harness.results.score import Pixels, Ranked, score
from tests.conftest import Bench


def write(folder: Path, name: str, labels: np.ndarray, palette: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
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
    assert written.pop("pixels") == {"scored": 4560, "void": 240, "outside": 0}
    assert written == json.loads(json.dumps(expected.to_dict()))
    assert "4,560 (95.0 %) pixels scored, 240 (5.0 %) void." in done.stdout
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
    assert scores["pixels"] == {"scored": 50, "void": 0, "outside": 50}


@pytest.fixture
def binary(tmp_path: Path) -> tuple[Path, Path]:
    """Masks of 0 and 255, and predictions that are all black."""
    mask = np.zeros((20, 30))
    mask[5:12, 5:20] = 255
    for name in "ab":
        write(tmp_path / "masks", name, mask)
        write(tmp_path / "black", name, 0 * mask)
    return tmp_path / "black", tmp_path / "masks"


def test_masks_of_0_and_255_are_no_masks_of_one_class_and_void(binary: tuple[Path, Path]) -> None:
    black, masks = binary
    with pytest.raises(DataError, match=r"210 of 1,200 pixels \(17.5 %\) are 255, void.*only one class") as refused:
        score(black, targets=masks, num_classes=2)
    assert "--labels 0:0,255:1" in str(refused.value.hint)
    assert "--void none" in str(refused.value.hint)
    meant = score(black, targets=masks, num_classes=2, labels={0: 0, 255: 1})
    assert meant.scores.values["miou"] == pytest.approx((990 / 1200 + 0) / 2)
    assert (meant.pixels, meant.read_by_table) == (Pixels(1200, 0, 0), False)
    void = score(black, targets=masks, num_classes=2, ignore_index=255)
    assert (void.scores.values["miou"], void.pixels) == (1.0, Pixels(990, 210, 0)), "who says so is believed"
    with pytest.raises(DataError, match="holds label"):
        score(black, targets=masks, num_classes=2, ignore_index="none")


def test_predictions_of_0_and_255_are_read_as_the_targets_are(binary: tuple[Path, Path]) -> None:
    black, masks = binary
    right = score(masks, targets=masks, num_classes=2, labels={0: 0, 255: 1})
    assert (right.scores.values["miou"], right.read_by_table) == (1.0, True)
    write(black, "a", np.full((20, 30), 7))
    with pytest.raises(DataError, match=r"a.png: holds 7, which --labels does not name"):
        score(black, targets=masks, num_classes=2, labels={0: 0, 255: 1})


def test_mostly_void_targets_have_to_be_meant(tmp_path: Path) -> None:
    target = np.full((10, 10), 255)
    target[0], target[1] = 0, 1
    write(tmp_path / "t", "x", target)
    write(tmp_path / "p", "x", np.zeros((10, 10)))
    with pytest.raises(DataError, match="more than are scored"):
        score(tmp_path / "p", targets=tmp_path / "t", num_classes=2)
    assert score(tmp_path / "p", targets=tmp_path / "t", num_classes=2, ignore_index=255).pixels == Pixels(20, 80, 0)
    write(tmp_path / "t", "x", np.full((10, 10), 255))
    with pytest.raises(DataError, match="nothing is left to score"):
        score(tmp_path / "p", targets=tmp_path / "t", num_classes=2)


def test_a_table_of_values_can_name_void(tmp_path: Path) -> None:
    write(tmp_path / "t", "x", np.array([[1, 2, 3, 3]]))
    write(tmp_path / "p", "x", np.array([[0, 1, 1, 1]]))
    done = score(tmp_path / "p", targets=tmp_path / "t", num_classes=2, labels={1: 0, 2: 1, 3: "void"})
    assert (done.scores.values["miou"], done.pixels) == (1.0, Pixels(2, 2, 0))


def test_a_folder_that_says_nothing_of_255_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((20, 30))
    mask[5:12, 5:20] = 255
    rng = np.random.default_rng(0)
    for number in range(4):
        write(tmp_path / "mine" / "masks", str(number), mask)
        write(tmp_path / "black", str(number), 0 * mask)
        (tmp_path / "mine" / "images").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(
            tmp_path / "mine" / "images" / f"{number}.png"
        )
    about = "classes: [ground, thing]\nsplits: {test: 1.0}\n"
    yaml = tmp_path / "mine" / "dataset.yaml"
    yaml.write_text(about)
    with pytest.raises(DataError, match="only one class") as refused:
        score(tmp_path / "black", dataset=str(tmp_path / "mine"))
    assert "labels: {0: 0, 255: 1}" in str(refused.value.hint)
    mine = open_dataset(str(tmp_path / "mine"), None, tmp_path)
    with pytest.raises(DataError, match=r"the masks hold 255 and 0 alone, and 255 is void. Say in dataset.yaml"):
        manifest_of(mine)
    assert [f.kind for f in check(mine).errors] == ["one class"]
    yaml.write_text(about + "labels: {0: 0, 255: 1}\n")
    monkeypatch.chdir(tmp_path)
    done = score(tmp_path / "black", dataset="mine", rank_as=Ranked("black", db=str(tmp_path / "r.db")))
    assert done.scores.values["miou"] == pytest.approx(990 / 1200 / 2), "and a test split needs no training images"
    assert done.suites == ("external",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"valid": "regions"}, "--valid cannot go with --dataset"),
        ({"num_classes": 6, "ignore_index": 255}, "--num-classes, --void cannot go with --dataset"),
        ({"labels": {0: 0}}, "--labels cannot go with --dataset"),
    ],
)
def test_options_of_targets_cannot_go_with_a_data_set(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        score("p", dataset="shapes", **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"split": "val"}, "--split cannot go with --targets"),
        ({"variant": "official", "data_dir": "d"}, "--variant, --data-dir cannot go with --targets"),
        ({"labels": {0: 0}, "ignore_index": 255}, "only one can say what is void"),
        ({"labels": {0: 0, 255: 2}}, "there is no class 2; the classes are 0 to 1"),
    ],
)
def test_options_of_a_data_set_cannot_go_with_targets(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        score("p", targets="t", num_classes=2, **given)


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
        (("--dataset", "shapes", "--seed", 1), "--seed needs --as"),
        (("--dataset", "shapes", "--db", "r.db"), "--db needs --as"),
        (("--targets", targets, "--num-classes", 3, "--void", "x"), "--void x: write a label from 0 to 255, or none"),
        (("--targets", targets, "--num-classes", 3, "--labels", "0:0,1"), "--labels 0:0,1: '1' is not VALUE:CLASS"),
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
