"""A network's hash is that of its code: not of where the code stands, nor of how it is documented."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.models.sources import bare_source, module_hash

NET = '''"""A network."""

from torch import nn
from {package}.parts.block import block  # what it is made of
from ..parts import block as again

NAME = "net"
SUMMARY = "a network"
STRIDE = 4


def build(num_classes, width=8):
    """Build it."""
    # one block
    return nn.Sequential(block(width), again.block(num_classes))
'''
BLOCK = """def block(width):
    return width * 2
"""

Change = Callable[[str], str]
# A package that was imported once is not looked for again: each has a name of its own.
NUMBERS = itertools.count()


@pytest.fixture
def hash_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The hash of the network above, written as a package of some name into some folder."""

    def take(package: str | None = None, net: Change = str, block: Change = str, more: str = "") -> str:
        number = next(NUMBERS)
        package = package or f"package_{number}"
        root = tmp_path / f"place_{number}" / package
        files = {
            "nets/net.py": net(NET.format(package=package)),
            "parts/block.py": block(BLOCK),
            "other.py": more,
            **{f"{folder}__init__.py": "" for folder in ("", "nets/", "parts/")},
        }
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        monkeypatch.syspath_prepend(root.parent)
        return module_hash(f"{package}.nets.net")

    return take


def test_a_package_of_another_name_in_another_place_has_the_same_hash(hash_of: Callable[..., str]) -> None:
    assert hash_of("my_networks") == hash_of("renamed_networks")


@pytest.mark.parametrize(
    "net",
    [
        lambda text: text.replace("# one block", "# a block, and another"),
        lambda text: text.replace("# what it is made of", ""),
        lambda text: text.replace('"""A network."""', '"""A better description.\n\nOf two paragraphs.\n"""'),
        lambda text: text.replace('"""Build it."""', '"""Build it, with so many classes."""'),
        lambda text: text.replace('NAME = "net"', 'NAME = "network"'),
        lambda text: text.replace('SUMMARY = "a network"', 'SUMMARY = "a small network"\nPAPER = "none"'),
        lambda text: text.replace("STRIDE = 4", 'STRIDE = 4\nPRETRAINED_ON = ["ImageNet-1k", "COCO"]'),
        lambda text: text.replace("\n\n\n", "\n\n\n\n"),
    ],
    ids=[
        "comment",
        "comment after code",
        "module's docstring",
        "docstring",
        "name",
        "summary",
        "pretraining",
        "blank lines",
    ],
)
def test_what_only_describes_a_network_does_not_count(hash_of: Callable[..., str], net: Change) -> None:
    assert net(NET) != NET
    assert hash_of(net=net) == hash_of()


def test_what_the_network_does_not_import_does_not_count(hash_of: Callable[..., str]) -> None:
    assert hash_of(more="VALUE = 1\n") == hash_of()


@pytest.mark.parametrize(
    ("net", "block"),
    [
        (lambda text: text.replace("width=8", "width=9"), str),
        (lambda text: text.replace("STRIDE = 4", "STRIDE = 8"), str),
        (lambda text: text.replace("from torch import nn", "from torch import nn, optim"), str),
        (lambda text: text.replace("import block as again", "import block as again, block as other"), str),
        (str, lambda text: text.replace("* 2", "* 3")),
    ],
    ids=["default", "stride", "import", "own import", "code of another module"],
)
def test_what_can_move_a_result_counts(hash_of: Callable[..., str], net: Change, block: Change) -> None:
    assert (net(NET), block(BLOCK)) != (NET, BLOCK)
    assert hash_of(net=net, block=block) != hash_of()


def test_a_hash_sign_in_a_string_is_code() -> None:
    one, two = (bare_source("a.b", f"X = '#{word}'  # comment\n", "a") for word in ("x", "y"))
    assert (one, two) == ("X = '#x'", "X = '#y'")
