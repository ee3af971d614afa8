"""What a network's file says about itself in its constants, read as text: nothing of it runs.

A file of this project, a user's single file and a module of an installed package say it in the same way:

    NAME = "my_net"             what a suite and the board call it (an installed package: its entry point's name)
    SUMMARY = "one line"        optional, as are the rest
    STRIDE = 32                 height and width of the input are padded to multiples of it
    PAPER = "…"
    LICENSE = "…"               of the code; LICENCE counts as well
    BACKBONE = ("encoder",)     the submodules that pretrained weights fill; () where nothing is ever pretrained
    PRETRAINED_ON = "ImageNet-1k"   or a list of data sets, or "none": what the weights it starts from were trained on

    def build(num_classes, **params): ...
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from harness.errors import PluginError
from harness.utils.pretraining import data_set_names

DEFAULT_STRIDE = 32
# Constants that say something about a network and do not move its results. (BACKBONE has a part of the fingerprint to
# itself where a recipe trains the head at a rate of its own.)
DESCRIBING = ("NAME", "SUMMARY", "PAPER", "LICENCE", "LICENSE", "BACKBONE", "PRETRAINED_ON")
# What reading a source, or evaluating a literal of it, may raise: `1 + 1 + …` can be too deep, `{[1]: 2}` has no hash.
UNREADABLE = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)


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
    functions = (n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef))
    return Declaration(
        name=name if isinstance(name, str) and name.strip() else None,
        summary=_text(facts, "SUMMARY"),
        stride=stride,
        paper=_text(facts, "PAPER"),
        license=_text(facts, "LICENSE") or _text(facts, "LICENCE"),
        builds="build" in facts or any(n.name == "build" for n in functions),
        backbone=_backbone(facts, where),
        pretrained_on=_pretrained_on(facts, where),
    )


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


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    return "" if value is None else str(value)


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
