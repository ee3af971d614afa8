"""`bench check-data` on a copy with every kind of fault planted, and on sound ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import manifest_of, open_dataset
from harness.datasets.base import read_labels
from harness.datasets.checkup import check
from harness.datasets.palette import save_labels, voc_palette
from harness.datasets.shapes import Shapes
from harness.errors import DataError
from tests.conftest import REAL_DATA, real, run_bench

PALETTE = voc_palette(6)


@pytest.fixture
def copy(shapes_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shapes_home / "data" / Shapes.folders[0], tmp_path / "copy"))


class Planter:
    """Damages a copy, one sample a fault, and remembers what has to be found."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.expected: list[tuple[str, str]] = []

    def image(self, name: str) -> Path:
        return self.root / "JPEGImages" / f"{name}.jpg"

    def mask(self, name: str) -> Path:
        return self.root / "SegmentationClass" / f"{name}.png"

    def add(self, split: str, name: str) -> None:
        with (self.root / "ImageSets" / "Segmentation" / f"{split}.txt").open("a") as file:
            file.write(f"{name}\n")

    def expect(self, kind: str, *words: str) -> None:
        self.expected.append((kind, words[0] if words else ""))

    def plant(self) -> None:
        for path in (self.root / "SegmentationClass").glob("*.png"):
            labels = read_labels(path).copy()
            if path.name.startswith("train"):
                labels[labels == 5] = 0  # rings are only tested
            labels[labels == 4] = 0  # crosses are nowhere
            save_labels(path, labels, PALETTE)
        self.expect("untrained class", "ring")
        self.expect("absent class", "cross")
        self._files()
        self._pictures()
        self._masks()
        self._lists()

    def _files(self) -> None:
        self.image("train_0001").unlink()
        self.expect("missing", str(self.image("train_0001")))
        self.mask("train_0002").unlink()
        self.expect("missing", str(self.mask("train_0002")))
        self.image("train_0003").write_bytes(b"")
        self.expect("empty file", str(self.image("train_0003")))
        whole = self.image("train_0004").read_bytes()
        self.image("train_0004").write_bytes(whole[: len(whole) // 2])
        self.expect("broken", str(self.image("train_0004")))
        self.image("train_0005").write_text("<html>404</html>")
        self.expect("broken", str(self.image("train_0005")))
        self.mask("train_0006").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
        self.expect("broken", str(self.mask("train_0006")))
        shutil.copy(self.image("train_0007"), self.image("stray"))
        self.expect("unlisted files", "stray.jpg")

    def _pictures(self) -> None:
        Image.open(self.image("train_0010")).convert("RGB").save(self.image("train_0010"), format="PNG")
        self.expect("wrong ending", str(self.image("train_0010")))
        photo = Image.open(self.image("train_0011"))
        exif = photo.getexif()
        exif[274] = 6
        photo.save(self.image("train_0011"), exif=exif)
        self.expect("turned by EXIF", str(self.image("train_0011")))
        Image.new("RGB", (64, 64), (9, 9, 9)).save(self.image("train_0012"))
        self.expect("blank image", str(self.image("train_0012")))
        Image.open(self.image("train_0013")).convert("RGBA").save(self.image("train_0013"), format="PNG")
        self.expect("transparent", str(self.image("train_0013")))
        deep = np.random.default_rng(0).integers(0, 60000, (64, 64)).astype(np.uint16)
        Image.fromarray(deep).save(self.image("train_0014"), format="PNG")
        self.expect("deep image", str(self.image("train_0014")))
        first = Image.open(self.image("train_0015")).convert("P")
        second = Image.open(self.image("train_0016")).convert("P")
        first.save(self.image("train_0015"), format="GIF", save_all=True, append_images=[second])
        self.expect("several frames", str(self.image("train_0015")))
        shutil.copy(self.image("train_0020"), self.image("train_0021"))
        self.expect("same image twice", "train_0021")
        shutil.copy(self.image("train_0022"), self.image("test_0022"))
        self.expect("same image in two splits", "test_0022")
        brighter = Image.open(self.image("train_0023")).point(lambda v: min(255, int(v * 1.15)))
        brighter.save(self.image("test_0023"), quality=60)
        self.expect("near-duplicate", "train_0023 (train) and test_0023 (test)")
        mirrored = Image.open(self.image("train_0024")).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mirrored.save(self.image("val_0024"), quality=90)
        self.expect("near-duplicate", "mirrored: train_0024 (train) and val_0024 (val)")

    def _masks(self) -> None:
        save_labels(self.mask("train_0030"), np.zeros((64, 60), int), PALETTE)
        self.expect("sizes differ", str(self.mask("train_0030")))
        save_labels(self.mask("train_0031"), np.full((64, 64), 77), PALETTE)
        self.expect("unknown label", str(self.mask("train_0031")))
        Image.new("RGB", (64, 64)).save(self.mask("train_0032"))
        self.expect("mask in color", str(self.mask("train_0032")))
        save_labels(self.mask("train_0033"), np.full((64, 64), 255), PALETTE)
        self.expect("all void", str(self.mask("train_0033")))
        save_labels(self.mask("train_0034"), np.zeros((64, 64), int), PALETTE)
        self.expect("empty mask", str(self.mask("train_0034")))
        shutil.copy(self.mask("train_0035"), self.mask("train_0036"))
        self.expect("same mask twice", "train_0036")

    def _lists(self) -> None:
        self.add("train", "train_0040")
        self.expect("listed twice", "train_0040 is 2 times")
        self.add("test", "train_0041")
        self.expect("in two splits", "train_0041")


def test_every_planted_fault_is_found_and_told_in_a_line(copy: Path) -> None:
    planter = Planter(copy)
    planter.plant()
    assert len({kind for kind, _ in planter.expected}) >= 20
    result = check(Shapes(copy))
    for kind, words in planter.expected:
        assert any(f.kind == kind and words in f.message for f in result.findings), f"{kind}: {words} was not found"
    assert all("\n" not in finding.message for finding in result.findings)
    assert {f.kind for f in result.findings} == {kind for kind, _ in planter.expected}, "and nothing else"
    assert result.manifest is None, "files are missing"


def test_a_sound_copy_has_no_finding_and_its_manifest_is_that_of_a_run(copy: Path) -> None:
    result = check(Shapes(copy))
    assert result.findings == []
    assert result.manifest == manifest_of(Shapes(copy))
    assert result.holding["train"][0] == 160
    assert sum(result.pixels["test"]) == 40 * 64 * 64


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.add("train", "test_0001"), "1 image(s) are in train and in test: test_0001"),
        (lambda p: p.add("train", "train_0001"), "train: train_0001 is 2 times in the list"),
        (
            lambda p: shutil.copy(p.image("train_0001"), p.image("test_0001")),
            "the same image is in train, as train_0001",
        ),
        (lambda p: save_labels(p.mask("val_0000"), np.full((64, 64), 255), PALETTE), "every pixel is void"),
    ],
)
def test_a_run_on_unsound_data_stops_before_training(copy: Path, damage: object, message: str) -> None:
    damage(Planter(copy))  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        manifest_of(Shapes(copy))
    assert message in caught.value.message
    assert "bench check-data" in (caught.value.hint or "")


def test_the_command_tells_what_it_found_and_ends_with_1(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    copy.rename(tmp_path / "data" / Shapes.folders[0])
    sound = run_bench("check-data", "shapes", "--manifest", "manifest.json", cwd=tmp_path)
    assert "0 error(s), 0 warning(s)." in sound.stdout
    assert "Manifest SHA-256" in sound.stdout
    assert (tmp_path / "manifest.json").stat().st_size > 10_000
    Planter(tmp_path / "data" / Shapes.folders[0])._lists()
    unsound = run_bench("check-data", "shapes", cwd=tmp_path, check=False)
    assert unsound.returncode == 1
    assert "error: listed twice: train: train_0040 is 2 times in the list" in unsound.stdout


def test_where_every_mask_has_an_unknown_label_the_command_is_short(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for mask in copy.glob("*/*.png"):
        labels = np.asarray(Image.open(mask))
        if labels.ndim == 2:
            save_labels(mask, np.full_like(labels, 77), PALETTE)
    copy.rename(tmp_path / "data" / Shapes.folders[0])
    words = ("check-data", "shapes")
    unsound = run_bench(*words, cwd=tmp_path, check=False)
    assert unsound.returncode == 1
    assert unsound.stdout.count("label(s) 77 do not exist") == 10
    assert "error: unknown label: 230 more (--all)" in unsound.stdout
    assert "absent class" not in unsound.stdout
    assert "pixels in train" not in unsound.stdout
    assert run_bench(*words, "--all", cwd=tmp_path, check=False).stdout.count("label(s) 77 do not exist") == 240


@pytest.mark.parametrize(
    ("name", "near"),
    [
        pytest.param("voc", set(), marks=real("VOCdevkit")),
        pytest.param("drive", set(), marks=real("DRIVE")),
        pytest.param("camvid", set(), marks=real("CamVid")),
        # One photograph twice, looked at by eye: horse205 and horse175, horse146 and horse004.
        pytest.param("horse", {"horse205", "horse146"}, marks=real("weizmann_horse_db")),
    ],
)
def test_real_copies_are_sound_and_their_near_duplicates_are_real(name: str, near: set[str]) -> None:
    result = check(open_dataset(name, None, REAL_DATA, obtain=False))
    assert result.errors == []
    found = [f.message for f in result.findings if f.kind == "near-duplicate"]
    assert {message.split(": ")[1].split()[0] for message in found} == near
