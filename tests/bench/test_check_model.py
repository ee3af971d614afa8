"""`bench new-model` and `bench check-model`, on files as strangers write them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from bench.new_model import TEMPLATE
from harness.errors import PluginError
from harness.models.declaration import misspelt
from harness.models.registry import ModelEntry, read_plugin
from harness.runner.check_model import check_contract, check_model
from harness.training.conformance import CHECKS, Subject, run_check
from tests.conftest import ROOT, Bench


def plugin(folder: Path, name: str, text: str) -> ModelEntry:
    (folder / name).write_text(text)
    return read_plugin(folder / name)


def in_the_docs(name: str) -> str:
    """The file of that name that docs/add-a-model.md shows."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "add-a-model.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f'"""{name}')]
    return str(found)


def states(entry: ModelEntry) -> dict[str, str]:
    """How each check ends, in this very process."""
    subject = Subject(lambda classes: entry.load()(classes), entry.stride, entry.size)
    return {check.name: run_check(check.name, subject).state for check in CHECKS}


def test_the_template_is_short_and_in_order(bench: Bench, home: Path) -> None:
    assert TEMPLATE.count("\n") < 40
    done = bench("new-model", "my_net.py")
    assert "bench check-model my_net.py" in done.stdout
    assert set(states(read_plugin(home / "my_net.py")).values()) == {"ok"}
    again = bench("new-model", "my_net.py", check=False)
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    for name, message in (
        ("unet.py", "comes with the project"),
        ("net", "ends in .py"),
        ("no/net.py", "no such folder"),
    ):
        wrong = bench("new-model", name, check=False)
        assert (wrong.returncode, message in wrong.stderr) == (2, True)


BAD = """\
import torch
from torch import nn

NAME = "bad"
STRIDE = 4


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.unused, self.seen = nn.Conv2d(3, num_classes, 3, padding=1), nn.Linear(3, 3), 0

    def forward(self, x):
        self.seen += 1
        if x.shape[-1] == 68 and DIES:
            raise KeyError("no such size")
        return self.body(x) * self.seen


DIES = False


def build(num_classes):
    return Net(num_classes)
"""


def test_what_breaks_the_contract_is_found_with_what_to_do(tmp_path: Path) -> None:
    bad = plugin(tmp_path, "bad.py", BAD)
    found = states(bad)
    assert {name for name, state in found.items() if state == "failed"} == {
        "gradients", "no hidden state", "save and load", "channels-last",
    }  # fmt: skip
    bad = plugin(tmp_path, "bad.py", BAD.replace("DIES = False", "DIES = True"))
    subject = Subject(lambda classes: bad.load()(classes), bad.stride)
    done = run_check("image sizes", subject, "bad.py")
    assert (done.state, done.said) == ("failed", "at 64×68: KeyError: 'no such size'")
    assert "STRIDE is what height and width must be multiples of" in done.todo
    subject = Subject(lambda classes: bad.load()(classes), bad.stride, (64, 64))
    assert run_check("image sizes", subject).state == "note", "it says which size it needs"


@pytest.mark.slow
def test_a_network_that_ends_its_process_fails_the_check_it_was_in(home: Path) -> None:
    text = "import os\n" + BAD.replace("self.seen += 1", "len(x) == 1 and os._exit(3)")
    done = check_contract(plugin(home, "dies.py", text), {}, home / "data")
    assert [one.name for one in done] == ["number of classes", "image sizes", "a single image"]
    assert (done[-1].state, "exit code 3" in done[-1].said) == ("failed", True)


@pytest.mark.long
@pytest.mark.slow
def test_a_network_that_hangs_is_stopped_in_time(home: Path) -> None:
    text = "import time\n" + BAD.replace("self.seen += 1", "x.shape[-1] == 68 and time.sleep(600)")
    done = check_contract(plugin(home, "hangs.py", text), {}, home / "data", time_limit_s=20)
    assert (done[-1].name, done[-1].state) == ("image sizes", "failed")
    assert "over the time limit of 20 s" in done[-1].said


@pytest.mark.slow
def test_the_command_says_what_came_and_ends_with_1(bench: Bench, home: Path) -> None:
    (home / "bad.py").write_text(BAD)
    done = bench("check-model", "bad.py", check=False)
    assert done.returncode == 1
    assert "unused.weight, unused.bias never get a gradient" in done.stdout
    assert "4 failed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_wrong_number_of_classes_and_a_misspelt_constant_are_said_once(bench: Bench, home: Path) -> None:
    bench("new-model", "net.py")
    text = (home / "net.py").read_text()
    (home / "net.py").write_text(
        text.replace("num_classes, 1)", "num_classes + 1, 1)").replace("STRIDE = 4", "STRYDE = 4")
    )
    done = bench("check-model", "net.py", check=False)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "1 failed, 1 to note" in said
    assert "The other checks need the right number of classes first." in said
    assert "STRYDE means nothing here" in said
    assert misspelt(text) == {}
    assert misspelt(text.replace("PAPER", "PAPPER") + "\nSTRIDES = (1, 2)\n") == {"PAPPER": "PAPER"}


def test_torchvisions_network_joins_by_the_file_of_the_docs(home: Path) -> None:
    text = in_the_docs("lraspp.py")
    assert text.count("\n") < 20
    entry = plugin(home, "lraspp.py", text)
    assert "trained one step, predicted and scored" in check_model(entry, {}, home / "data")
    assert set(states(entry).values()) == {"ok"}


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_hugging_faces_segformer_joins_by_the_file_of_the_docs(tmp_path: Path) -> None:
    text = in_the_docs("hf_segformer.py")
    assert text.count("\n") < 20
    assert set(states(plugin(tmp_path, "hf_segformer.py", text)).values()) == {"ok"}


def test_a_package_that_is_not_there_is_said_before_anything_runs(home: Path) -> None:
    said = 'REQUIRES = ("torch>=1", "no-such-package>=2")\n'
    entry = plugin(home, "needs.py", said + BAD)
    with pytest.raises(PluginError, match="bad needs no-such-package>=2, which is not installed") as refused:
        check_model(entry, {}, home / "data")
    assert refused.value.hint == 'pip install "torch>=1" "no-such-package>=2"'
    old = plugin(home, "old.py", 'REQUIRES = "torch<1"\n' + BAD)
    with pytest.raises(PluginError, match=r"needs torch<1, and .* is installed"):
        _ = old.source_hash
