"""Files from elsewhere that are broken or made to harm: one message with file, line and field, and never a hang."""

from __future__ import annotations

import os
import struct
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from harness.config.load import load_suite
from harness.datasets import open_dataset
from harness.datasets.base import open_image, pixel_limit
from harness.errors import BenchError, DataError, SuiteError
from harness.utils.bounded_regex import BadExpression, first_groups
from harness.utils.reading import CannotRead, read_text
from tests.conftest import run_bench
from tests.harness.test_folder import BASIC, make, opened

# Nine times as many values on every line: 10^11 of them.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
SUITE = "datasets: [shapes]\nmodels: [unet]\nrecipe:\n  epochs: 1\n"


# -- YAML -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (SUITE + BOMB, 10, "more than 500,000 values"),
        (SUITE + "title: &a [*a]\n", 5, "an alias stands inside of what it stands for"),
        (SUITE + f"title: {'[' * 100_000}\n", 5, "nested more than 40 levels deep"),
        (SUITE + f"title: {'{a: ' * 50}1{'}' * 50}\n", 5, "nested more than 40 levels deep"),
        (SUITE + "? [1, 2]\n: 3\n", 5, "a list or a mapping cannot be the name of a field"),
        (SUITE + "title: 2024-02-31\n", 5, "timestamp 2024-02-31"),
        (SUITE + "title: 2024-02-28\n", 5, "quote it"),
        (SUITE + "title: !!set {a, b}\n", 5, "no text, number, list or mapping (set)"),
        (SUITE + "title: !!python/object/apply:os.system [ls]\n", 5, "no text, number, list or mapping"),
        (SUITE + "seeds: [!!int x]\n", 0, "not valid YAML: invalid literal for int"),
        (SUITE + f"seeds: [{'9' * 5000}]\n", 0, "not valid YAML: Exceeds the limit"),
        (SUITE + "title: \x1b[31m\n", 0, "control characters"),
        (SUITE + 'title: "a\\0b"\n', 5, "a text with control characters"),
        (SUITE + 'title: "a\\e[31m"\n', 5, "a text with control characters"),
        (SUITE + f"seeds: [{'x, ' * 500_000}1]\n", 5, "more than 500,000 values"),
        (SUITE + f"title: {'x' * 5_000_000}\n", 0, "is longer than 4,194,304 bytes"),
        (SUITE + f"title: [{'x' * 10_000}]\n", 5, "title"),
    ],
    ids=lambda value: str(value)[-25:].replace("\n", " ") if isinstance(value, str) else "",
)
def test_a_suite_that_is_made_to_harm_is_refused_at_once(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    began = time.monotonic()
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    assert time.monotonic() - began < 30
    assert message in caught.value.message
    assert caught.value.message.startswith(f"{path}:{line}: " if line else f"{path}")
    assert len(caught.value.message) < 1500


def test_a_file_with_very_many_mistakes_tells_some(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE + "seeds: [" + "x, " * 10_000 + "1]\n")
    with pytest.raises(SuiteError, match="and 9980 more") as caught:
        load_suite(str(path))
    assert caught.value.message.count("\n") == 20


def test_aliases_of_a_usual_length_stay(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text("recipe: &r {epochs: 1}\ndatasets: [shapes]\nmodels: [{name: unet, recipe: {<<: *r}}]\n")
    assert load_suite(str(path)).models[0].recipe == {"epochs": 1}


def test_only_regular_files_of_some_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"one\ncaf\xe9\n")
    (tmp_path / "long").write_bytes(b"x" * 101)
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (
        ("pipe", "no regular file"),
        ("/dev/zero", "no regular file"),
        (".", "no regular file|cannot be read"),
        ("latin", r"no UTF-8 \(line 2\)"),
        ("long", "longer than 100 bytes"),
        ("loop", "cannot be read"),
        ("none", "No such file"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(CannotRead, match=why):
            read_text(tmp_path / name, 100)


# -- a folder of images and its definition -----------------------------------------------------------------


def pipe(root: Path, name: str) -> None:
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)


def link(root: Path, name: str, target: str | Path) -> None:
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(target)


TWO = "classes: [a, b]\nmask_suffix: _mask\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO + BOMB, "dataset.yaml:8: with its aliases written out, it has more than 500,000 values"),
        (TWO + "group: '^((a+)+)$'\n", "dataset.yaml: group: '^((a+)+)$': searching 20 names took longer"),
        (TWO + "group: '('\n", "dataset.yaml:3: group: no regular expression: missing )"),
        (TWO + "group: a\n", "dataset.yaml:3: group: the expression needs a group in parentheses"),
        (TWO + f"group: '({'a' * 600})'\n", "dataset.yaml:3: group: the expression has more than 500 characters"),
        (TWO + "splits: {train: pipe, test: pipe}\n", "pipe: this list is no regular file"),
        (TWO + "splits: {train: /etc/passwd, test: /etc/passwd}\n", "dataset.yaml:3: splits.train: '/etc/passwd' is"),
        (TWO + "splits: {train: out.txt, test: out.txt}\n", "dataset.yaml:3: splits.train: 'out.txt' leads out"),
        (TWO + "splits: {train: loop, test: loop}\n", "loop"),
        (TWO + "splits: {train: latin.txt, test: latin.txt}\n", "latin.txt: this list is no UTF-8 (line 2)"),
        (TWO + "images: ../secret\n", "dataset.yaml:3: images: '../secret' is no plain path"),
        (TWO + "masks: /etc\n", "dataset.yaml:3: masks: '/etc' is no plain path"),
        (TWO + "masks: linked\n", "dataset.yaml:3: masks: 'linked' leads out of the data set's folder"),
        (TWO + "labels: {-1: 1}\n", "dataset.yaml:3: labels.-1.[key]: input should be greater than or equal to 0"),
        (TWO + "labels: {0: 0, 300: 1}\n", "labels.300.[key]: input should be less than or equal to 255"),
        (TWO + "labels: {0: 300}\n", "there is no class 300"),
        (TWO + "palette: [[0, 0, 0], [0, 0, 300]]\n", "dataset.yaml:3: palette.1.2: input should be less than"),
        (TWO + "splits: {train: .nan, test: 0.5}\n", "shares are positive and add up to at most 1"),
        (TWO + "splits: {train: .inf, test: 0.5}\n", "shares are positive and add up to at most 1"),
        (TWO + "? [a]\n: 1\n", "dataset.yaml:3: a list or a mapping cannot be the name of a field"),
        (TWO + "citation: 2024-01-01\n", "dataset.yaml:3: a value that is no text"),
        (TWO + "1: 2\n", "dataset.yaml:3: 1"),
        (TWO + f"citation: {'[' * 3000}\n", "dataset.yaml:3: nested more than 40 levels deep"),
        ('classes: ["a\\nb", c]\n', "dataset.yaml:1: classes: one short line without control characters"),
        ('citation: "a\\0b"\n', "dataset.yaml:1: a text with control characters"),
        ("classes: 3\n", "dataset.yaml:1: classes: "),
        ('classes: ["a\\e[31m", b]\n', "dataset.yaml:1: a text with control characters"),
        ("- a\n", "dataset.yaml:1: a data set's definition is a mapping"),
        ("encoding: colors\nclasses: [a]\ncolors: {'0,0,x': 0}\n", "'0,0,x' is not R,G,B"),
        ("encoding: colors\nclasses: [a]\ncolors: {'0,0,300': 0}\n", "'0,0,300' is not R,G,B"),
    ],
)  # fmt: skip
def test_a_definition_that_is_broken_or_made_to_harm_is_one_message(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.utils.bounded_regex.first_groups.__defaults__", (1.0,))
    root = make(tmp_path / "k", text)
    for path in list(root.rglob("p0*")):  # a name on which a bad expression takes ages
        path.rename(path.with_name(path.name.replace("p0", "a" * 40 + "!")))
    os.mkfifo(root / "pipe")
    (root / "out.txt").symlink_to("/etc/passwd")
    (root / "linked").symlink_to("/usr")
    (root / "loop").symlink_to("loop")
    (root / "latin.txt").write_bytes(b"p1\ncaf\xe9\n")
    began = time.monotonic()
    with pytest.raises(DataError) as caught:
        opened(root)
    assert time.monotonic() - began < 30
    assert message in caught.value.message
    assert "root:" not in caught.value.message, "nothing of a file elsewhere is shown"


def planted(root: Path, what: str) -> None:
    """Put something in the place of an image or a mask."""
    image, mask = root / "images" / "p3.jpg", root / "masks" / "p3_mask.png"
    if what == "pipe":
        mask.unlink()
        os.mkfifo(mask)
    if what == "folder":
        mask.unlink()
        mask.mkdir()
    if what == "link out":
        image.unlink()
        image.symlink_to(root.parent / "secret.jpg")
    if what == "link to a folder out":
        (root / "images" / "more.jpg").symlink_to("/usr")
    if what == "device":
        image.unlink()
        image.symlink_to("/dev/zero")
    if what == "loop":
        image.unlink()
        image.symlink_to(image)
    if what == "dangling":
        image.unlink()
        image.symlink_to(root / "images" / "none.jpg")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("pipe", "p3_mask.png: this is no regular file"),
        ("folder", "p3_mask.png: this is no regular file"),
        ("link out", "p3.jpg: leads out of the data set's folder"),
        ("link to a folder out", "more.jpg: leads out of the data set's folder"),
        ("device", "p3.jpg: leads out of the data set's folder"),
        # Until Python 3.12 it cannot be resolved, since then not opened.
        (
            "loop",
            "p3.jpg: cannot be followed" if sys.version_info < (3, 13) else "p3.jpg: cannot be read: Too many levels",
        ),
        ("dangling", "p3.jpg: cannot be read: No such file"),
    ],
)
def test_only_regular_files_of_the_folder_are_samples(tmp_path: Path, what: str, message: str) -> None:
    root = make(tmp_path / "k", BASIC)
    planted(root, what)
    with pytest.raises(DataError) as caught:
        opened(root)
    assert message in caught.value.message


def test_links_inside_of_the_folder_are_followed(tmp_path: Path) -> None:
    root = make(tmp_path / "k", BASIC)
    (root / "images").rename(root / "photos")
    (root / "images").symlink_to("photos")
    (root / "images" / "p3.jpg").rename(root / "p3.jpg")
    (root / "images" / "p3.jpg").symlink_to("../p3.jpg")
    assert opened(root).read("p3").image.shape == (16, 20, 3)
    (tmp_path / "other").symlink_to(root)
    assert opened(tmp_path / "other").read("p3").image.shape == (16, 20, 3)


def test_names_that_are_no_unicode_are_refused_by_the_command_in_a_line(tmp_path: Path) -> None:
    root = make(tmp_path / "k", BASIC)
    for folder, ending in (("images", b".jpg"), ("masks", b"_mask.png")):
        path = root / folder / f"p3{os.fsdecode(ending)}"
        path.rename(path.with_name(os.fsdecode(b"caf\xe9" + ending)))
    with pytest.raises(DataError, match="has characters that no line of a list can hold"):
        opened(root)
    done = run_bench("check-data", "./k", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "'caf\ufffd'" in done.stderr
    assert "Traceback" not in done.stderr


# -- images ------------------------------------------------------------------------------------------------


def bomb(path: Path, width: int, height: int) -> None:
    """A PNG of a few kilobytes that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * (1 << 20))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (16_000, 10_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_with_very_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb(tmp_path / "big.png", width, height)
    with pytest.raises(DataError, match=r"big\.png: the image has more than 150 million pixels") as caught:
        open_image(tmp_path / "big.png")
    assert "SEGBENCH_MEGAPIXELS" in (caught.value.hint or "")


def test_a_user_sets_the_limit_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (1000, 1500)).save(tmp_path / "some.png")
    assert open_image(tmp_path / "some.png").size == (1000, 1500)
    monkeypatch.setenv("SEGBENCH_MEGAPIXELS", "1.4")
    with pytest.raises(DataError, match=r"more than 1\.4 million pixels"):
        open_image(tmp_path / "some.png")
    monkeypatch.setenv("SEGBENCH_MEGAPIXELS", "400")
    assert pixel_limit() == 400_000_000
    bomb(tmp_path / "big.png", 20_000, 19_000)  # not refused for its size: its data end too early
    with pytest.raises(DataError, match="cannot be decoded"):
        open_image(tmp_path / "big.png")
    for wrong in ("many", "-1", "0", "nan", "inf"):
        monkeypatch.setenv("SEGBENCH_MEGAPIXELS", wrong)
        with pytest.raises(BenchError, match="write millions of pixels"):
            pixel_limit()


def test_an_image_that_is_too_large_is_a_finding_of_the_command(tmp_path: Path) -> None:
    root = make(tmp_path / "k", BASIC)
    bomb(root / "masks" / "p3_mask.png", 20_000, 20_000)
    done = run_bench("check-data", "./k", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "error: too large" in done.stdout
    assert "p3_mask.png" in done.stdout


# -- regular expressions -------------------------------------------------------------------------------------


def test_an_expression_that_takes_for_ever_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(BadExpression, match="longer than 1 s"):
        first_groups("^((a+)+)$", ["a" * 40 + "!"], 1)
    assert time.monotonic() - began < 10


def test_groups_are_found_in_any_name() -> None:
    assert first_groups("p([0-9])?", ["p1", "x", "caf\udce9 p2", "p"]) == ["1", None, "2", "None"]
    assert first_groups("(a)", []) == []


def test_a_group_is_kept_together(tmp_path: Path) -> None:
    root = make(tmp_path / "k", BASIC + "splits: {train: 0.5, test: 0.5}\ngroup: 'p(\\d)'\n")
    dataset = open_dataset(str(root), None, tmp_path)
    assert {dataset.group(f"p{n}") for n in (1, 10, 11)} == {"1"}
    # By names and seed alone: dealt out otherwise, every run on a folder would be another.
    assert dataset.ids("train") == ["p0", "p4", "p6", "p7", "p9"]
