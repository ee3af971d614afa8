"""Installed packages and single files that are broken, or made to harm: a command that does not use them goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import PluginError
from harness.models.registry import read_plugin
from tests.conftest import ROOT, TINY, rows, run_bench

RUN = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local", "--smoke")


def install(site: Path, name: str, files: dict[str, str], points: dict[str, dict[str, str]]) -> None:
    """A package as an installer leaves it: its modules, and what it announces."""
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = (
        f"[segbench.{group}]\n" + "".join(f"{k} = {v}\n" for k, v in one.items()) for group, one in points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))


# What a module does when it is imported.
HARM = {
    "syntax": "def (\n",
    "raises": "raise RuntimeError('boom \\x1b[31m')\n",
    "exits": "import sys\nsys.exit(3)\n",
    "dies": "import os\nos._exit(7)\n",
    "hangs": "import time\ntime.sleep(1000)\n",
    "no python": "\0",
    "sum": "NAME = " + "+".join(["1"] * 20_000) + "\n",
    "list as key": "NAME = {[1]: 2}\nSTRIDE = {[1]: 2}\n",
}


@pytest.mark.long
@pytest.mark.slow
def test_an_installed_package_cannot_end_a_command_that_does_not_use_it(home: Path) -> None:
    site = home / "site"
    for number, (what, text) in enumerate(HARM.items()):
        name = f"harm{number}"
        # The parent is what an import would run first; the network below it is sound, and broken itself.
        files = {f"{name}/__init__.py": text, f"{name}/net.py": "def build(n):\n    pass\n", f"{name}_net.py": text}
        points = {"models": {f"below-{number}": f"{name}.net:build", f"itself-{number}": f"{name}_net:build"}}
        if what in ("dies", "hangs"):  # not to be stopped once they are imported: nothing may import them
            points |= {g: {f"{g}-{number}": f"{name}_net:X"} for g in ("losses", "optimizers", "datasets", "searchers")}
        else:
            groups = ("losses", "optimizers", "schedules", "augmentations", "datasets", "searchers", "metrics")
            points |= {group: {f"{group}-{number}": f"{name}_net:X"} for group in groups}
        install(site, name, files, points)
    install(site, "odd", {}, {"models": {"odd-1": ":build", "odd-2": "..x:build", "odd-3": "none.such:build"}})
    done = run_bench(*RUN, "--set", "grid={lr: [0.01], augment: [[]]}", cwd=home, PYTHONPATH=str(site))
    assert rows(home / "results.db", "select state from runs") == [("ok",)]
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    listing = "from harness.models.registry import known_models; print(*known_models())"
    listed = subprocess.run(
        [sys.executable, "-c", listing],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
    )
    for number in range(len(HARM)):  # named, though its code would not load: nothing ran to find out
        assert f"below-{number}" in listed.stdout.split()
    assert "its model 'itself-0' is left out" in listed.stderr
    assert "its model 'odd-1' is left out" in listed.stderr
    used = run_bench(*RUN, "--set", "recipe.loss=losses-1", cwd=home, PYTHONPATH=str(site), check=False)
    assert used.returncode == 2
    assert "the loss 'losses-1' cannot be loaded: plugin harm1 1.0: RuntimeError: boom" in used.stderr
    assert "\x1b" not in used.stderr


SOUND = "NAME = 'mine'\ndef build(num_classes):\n    pass\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SOUND + "STRIDE = {[1]: 2}\n", "STRIDE = (not a plain number) must be a whole number"),
        (SOUND + "STRIDE = " + "+".join(["1"] * 50_000) + "\n", "net.py"),
        (SOUND + "BACKBONE = {[1]: 2}\n", "BACKBONE = (not a plain tuple)"),
        (SOUND + "PRETRAINED_ON = {[1]: 2}\n", "PRETRAINED_ON"),
        (SOUND + f"X = {'(' * 5000}{')' * 5000}\n", "net.py:4: not valid Python: too many nested parentheses"),
        (SOUND + f"X = {'-' * 100_000}1\n", "net.py"),
        (SOUND + f"X = {'9' * 5000}\n", "net.py:4: not valid Python: Exceeds the limit"),
        (SOUND + "X = '\0'\n", "not valid Python"),
        (SOUND.replace("mine", "\\x1b[31mred"), "NAME = '\ufffd[31mred' must be one short line"),
        (SOUND.replace("mine", "a\\nb"), "NAME = 'a b' must be one short line"),
        (SOUND.replace("mine", "unet"), "is taken by a known model"),
        (SOUND + "#" * 3_000_000, "is longer than 2,097,152 bytes"),
        ("NAME = {[1]: 2}\n", "has no constant NAME"),
    ],
    ids=lambda value: str(value)[-20:],
)
def test_a_single_file_that_is_made_to_harm_is_one_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "net.py"
    path.write_text(text)
    with pytest.raises(PluginError) as caught:
        read_plugin(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message


def test_the_ends_of_a_file_s_lines_do_not_move_its_hash(tmp_path: Path) -> None:
    (tmp_path / "unix.py").write_bytes(SOUND.encode())
    (tmp_path / "dos.py").write_bytes(SOUND.replace("\n", "\r\n").encode())
    assert read_plugin(tmp_path / "unix.py").source_hash == read_plugin(tmp_path / "dos.py").source_hash
