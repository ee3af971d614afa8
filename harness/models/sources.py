"""The hash of a network's source: found by reading files, without importing any of them.

A module and everything it imports from its own package count. What only says where the code stands, or describes it,
does not: a network that is moved, whose package is renamed or whose documentation is improved keeps its hash.
"""

from __future__ import annotations

import ast
import hashlib
import io
import sys
import tokenize
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path

from harness.errors import PluginError
from harness.utils.reading import CannotRead, read_text

from .declaration import DESCRIBING, UNREADABLE, assigned
from .zoo import ZOOS

# The package of this project's own networks, and the project's.
OWN = __name__.rpartition(".")[0]
PROJECT = OWN.split(".")[0]


@cache
def module_hash(module: str) -> str:
    """SHA-256 over a module and everything it imports from its own package.

    Raises:
        PluginError: it has no source, or one that is not Python.
    """
    if (packaged := _package_version(module)) is not None:
        return packaged
    inside = _own_package(module)
    whole = hashlib.sha256()
    for name, (text, is_package) in sorted(_sources(module, inside).items()):
        whole.update(f"{name.removeprefix(inside)}\n{bare_source(name, text, inside, is_package)}\n".encode())
    return whole.hexdigest()


def _package_version(module: str) -> str | None:
    """Networks of torchvision and segmentation_models_pytorch go by their package's version."""
    top = module.split(".")[0]
    if top not in ZOOS:
        return None
    return hashlib.sha256(f"{top} {version(top.replace('_', '-'))}".encode()).hexdigest()


def _own_package(module: str) -> str:
    """The package whose source counts: of this project's own only the networks'."""
    return OWN if module.startswith(f"{OWN}.") else module.split(".")[0]


def covered_modules(module: str) -> list[str]:
    """The modules whose source makes up the hash of a module, by name.

    Raises:
        PluginError: as `module_hash`.
    """
    return sorted(_sources(module, _own_package(module)))


def _sources(module: str, inside: str) -> dict[str, tuple[str, bool]]:
    """Text of a module and of every module of its package that it needs, and whether each is a package itself."""
    seen: dict[str, tuple[str, bool]] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        found = module_text(name)
        if found is None:
            if name == module:
                raise PluginError(
                    f"the source of {module} cannot be found, so nobody could tell later what was trained"
                )
            continue
        seen[name] = found
        try:
            imported = _imports(name, *found)
        except UNREADABLE as error:
            raise PluginError(f"{name}: its source cannot be read as Python: {error}") from error
        waiting += [m for m in imported if m == inside or m.startswith(f"{inside}.")]
    return seen


def module_text(module: str) -> tuple[str, bool] | None:
    """A module's source and whether it is a package, or None; neither it nor the packages around it are imported."""
    spec = _find(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        return read_text(Path(spec.origin)), spec.submodule_search_locations is not None
    except CannotRead:
        return None


def _find(module: str) -> ModuleSpec | None:
    """What Python's own finders say of a module, package by package: `find_spec` would import those around it."""
    spec, name = None, ""
    for part in module.split("."):
        places = None if spec is None else spec.submodule_search_locations
        if name and places is None:
            return None
        name = f"{name}.{part}" if name else part
        finders = (finder.find_spec(name, places) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((found for found in finders if found is not None), None)
        if spec is None:
            return None
    return spec


def bare_source(module: str, text: str, inside: str, is_package: bool = False) -> str:
    """What of a source can move a result.

    Comments, docstrings, blank lines and the constants that describe the network are left out; so is what says where
    the source stands: imports of its own package are made relative, imports from the rest of this project left out.

    Args:
        module: its name.
        text: its source.
        inside: the package whose source counts.
        is_package: whether the module is a package's own file, `__init__.py`.
    """
    lines = [line.rstrip() for line in _without_comments(text)]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        kept = ""
        if isinstance(node, ast.ImportFrom):
            base = _absolute(module, node, is_package)
            own = base == inside or base.startswith(f"{inside}.")
            if not own and base.split(".")[0] != PROJECT:
                continue
            names = ", ".join(f"{a.name} as {a.asname}" if a.asname else a.name for a in node.names)
            kept = f"from {base.removeprefix(inside)} import {names}" if own else ""
        elif not _is_docstring(node) and node not in _descriptions(tree):
            continue
        first, last = node.lineno - 1, node.end_lineno or node.lineno  # type: ignore[attr-defined]
        lines[first:last] = [kept, *[""] * (last - first - 1)]
    return "\n".join(line for line in lines if line)


def _without_comments(text: str) -> list[str]:
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return lines


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _descriptions(tree: ast.Module) -> list[ast.AST]:
    """The assignments that describe a network and build nothing."""
    return [
        node
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and any(getattr(target, "id", "") in DESCRIBING for target in assigned(node))
    ]


def _absolute(module: str, node: ast.ImportFrom, is_package: bool) -> str:
    """The module that a `from … import` names."""
    base = node.module or ""
    if not node.level:
        return base
    package = module.split(".") if is_package else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])


def _imports(module: str, text: str, is_package: bool) -> list[str]:
    """The modules a source imports, absolute and relative, by name."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node, is_package)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found
