"""What a network's file says about itself in its constants, read as text: nothing of it runs.

A file of this project, a user's single file and a module of an installed package say it in the same way:

    NAME = "my_net"             what a suite and the board call it (an installed package: its entry point's name)
    SUMMARY = "one line"        optional, as are the rest
    STRIDE = 32                 height and width of the input are padded to multiples of it
    PAPER = "…"
    LICENSE = "…"               of the code
    AUTHORS = "…"               or a list of names
    REQUIRES = ("timm>=1.0",)   packages that it needs, as pip is told them; their versions count as its source does
    NORMALIZE = "unit"          imagenet, unit or symmetric: takes the place of the recipe's, unless the suite says it
                                of this network
    SIZE = (512, 512)           height and width of its training input, in the same way
    BACKBONE = ("encoder",)     the submodules that pretrained weights fill; () where nothing is ever pretrained
    PRETRAINED_ON = "ImageNet-1k"   or a list of data sets, or "none": what the weights it starts from were trained on

    def build(num_classes, **params): ...
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from harness.errors import PluginError
from harness.utils.normalization import Normalization
from harness.utils.pretraining import data_set_names
from harness.utils.text import plain_line

DEFAULT_STRIDE = 32
# Constants that say something about a network and do not move its results. (BACKBONE has a part of the fingerprint to
# itself where a recipe trains the head at a rate of its own.)
DESCRIBING = ("NAME", "SUMMARY", "PAPER", "LICENSE", "AUTHORS", "BACKBONE", "PRETRAINED_ON")
# What reading a source, or evaluating a literal of it, may raise: `1 + 1 + …` can be too deep, `{[1]: 2}` has no hash.
UNREADABLE = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)


# All that mean something.
KNOWN = (*DESCRIBING, "STRIDE", "REQUIRES", "NORMALIZE", "SIZE")


@dataclass(frozen=True)
class Declaration:
    """The constants of one file."""

    name: str | None
    """None where there is no such constant."""
    summary: str
    stride: int
    paper: str
    license: str
    builds: bool
    """Whether it has a function, class or value `build`."""
    backbone: tuple[str, ...] | None
    """The submodules that pretrained weights fill; () where there are none, None where the file does not say."""
    pretrained_on: tuple[str, ...] | None = None
    """The data sets its first weights were trained on; () from scratch, None where the file does not say."""
    authors: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    """Packages that it needs, as pip is told them."""
    normalize: Normalization | None = None
    size: tuple[int, int] | None = None
    """Height and width of its training input."""


def read_declaration(text: str, where: str) -> Declaration:
    """What a source says about its network.

    Args:
        text: the source.
        where: the file or module, for messages.

    Raises:
        PluginError: it is not Python (names file and line), or its stride, backbone or pretraining is none.
    """
    try:
        tree = ast.parse(text)
    except UNREADABLE as error:
        line = getattr(error, "lineno", None) or 1
        message = getattr(error, "msg", None) or str(error) or type(error).__name__
        raise PluginError(f"{where}:{line}: not valid Python: {message}") from error
    facts = _constants(tree)
    stride = facts.get("STRIDE", DEFAULT_STRIDE)
    if not isinstance(stride, int) or isinstance(stride, bool) or stride < 1:
        shown = repr(stride) if stride is not None else "(not a plain number)"
        raise PluginError(f"{where}: STRIDE = {shown} must be a whole number, 1 or more")
    name = facts.get("NAME")
    if isinstance(name, str) and plain_line(name) != name.strip():
        raise PluginError(f"{where}: NAME = {plain_line(name)!r} must be one short line without control characters")
    functions = (n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef))
    return Declaration(
        name=name if isinstance(name, str) and name.strip() else None,
        summary=_text(facts, "SUMMARY"),
        stride=stride,
        paper=_text(facts, "PAPER"),
        license=_text(facts, "LICENSE"),
        builds="build" in facts or any(n.name == "build" for n in functions),
        backbone=_backbone(facts, where),
        pretrained_on=_pretrained_on(facts, where),
        authors=_names(facts, "AUTHORS", where, 'For example AUTHORS = "A. Author", or a list of names.'),
        requires=_names(facts, "REQUIRES", where, 'For example REQUIRES = ("timm>=1.0",).'),
        normalize=_normalize(facts, where),
        size=_size(facts, where, stride),
    )


def misspelt(text: str) -> dict[str, str]:
    """Constants of a source that mean nothing here, each with the one that it looks like.

    Args:
        text: the source, which can be read.
    """
    given = [name for name in _constants(ast.parse(text)) if name.isupper()]
    # What is there under its right name is not meant a second time.
    missing = [name for name in KNOWN if name not in given]
    near = {name: get_close_matches(name, missing, 1, 0.8) for name in given if name not in KNOWN}
    return {name: found[0] for name, found in near.items() if found}


def _backbone(facts: dict[str, Any], where: str) -> tuple[str, ...] | None:
    if "BACKBONE" not in facts:
        return None
    names = facts["BACKBONE"]
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) and name for name in names):
        shown = repr(names) if names is not None else "(not a plain tuple)"
        raise PluginError(
            f"{where}: BACKBONE = {shown} must be a tuple of names of submodules",
            'For example BACKBONE = ("encoder",), or BACKBONE = () where nothing is ever pretrained.',
        )
    return tuple(names)


def _pretrained_on(facts: dict[str, Any], where: str) -> tuple[str, ...] | None:
    if "PRETRAINED_ON" not in facts:
        return None
    try:
        return data_set_names(facts["PRETRAINED_ON"])
    except ValueError as error:
        raise PluginError(
            f"{where}: PRETRAINED_ON: {error}", 'For example PRETRAINED_ON = "ImageNet-1k", or PRETRAINED_ON = "none".'
        ) from error


def _names(facts: dict[str, Any], name: str, where: str, hint: str) -> tuple[str, ...]:
    """A text, or a list of texts."""
    given = facts.get(name, "")
    if given == "":
        return ()
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, tuple | list) or not all(isinstance(one, str) and one.strip() for one in names):
        raise PluginError(f"{where}: {name} = {_shown(given)} must be a text, or a tuple of texts", hint)
    return tuple(" ".join(one.split()) for one in names)


def _normalize(facts: dict[str, Any], where: str) -> Normalization | None:
    if "NORMALIZE" not in facts:
        return None
    given, known = facts["NORMALIZE"], get_args(Normalization)
    if given not in known:
        raise PluginError(f"{where}: NORMALIZE = {_shown(given)} must be one of {', '.join(known)}")
    return given  # type: ignore[no-any-return]


def _size(facts: dict[str, Any], where: str, stride: int) -> tuple[int, int] | None:
    if "SIZE" not in facts:
        return None
    given = facts["SIZE"]
    sides = (given, given) if isinstance(given, int) else given
    whole = isinstance(sides, tuple | list) and len(sides) == 2 and all(type(n) is int and n >= 8 for n in sides)
    if not whole or any(side % stride for side in sides):
        raise PluginError(
            f"{where}: SIZE = {_shown(given)} must be height and width, whole multiples of the stride {stride}",
            "For example SIZE = (512, 512).",
        )
    return sides[0], sides[1]


def _shown(value: Any) -> str:
    return repr(value) if value is not None else "(not a plain constant)"


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    return "" if value is None else plain_line(str(value))


def _constants(tree: ast.Module) -> dict[str, Any]:
    """The module's top-level assignments of literals; other values are present as None."""
    found: dict[str, Any] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in assigned(node):
            if isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(node.value)
                except UNREADABLE:
                    found[target.id] = None
    return found


def assigned(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    """What an assignment assigns to, with or without a type."""
    return node.targets if isinstance(node, ast.Assign) else [node.target]
