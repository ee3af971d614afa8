"""Mutation testing of the pure core: small faults are put into it, and its tests have to notice each.

    python -m benchmarks.mutations                            every module, 30 mutants of each
    python -m benchmarks.mutations exact boundary --count 80  modules whose path has one of the words
    python -m benchmarks.mutations --again printed.txt        those that survived by what an earlier run has printed

The tests of a module are collected once. One forked process runs them all and notes which test runs which line; then
each mutant has a forked process of its own, in which the function's code is replaced and the tests that run the line
are run, the quickest first, until one fails. Nothing is written into the source.

A mutant changes one thing: a comparison, an operator, a number, True or False, `and`/`or`, `not`, a condition,
`min`/`max`, `any`/`all`, what is returned, a call whose result is not used, or an assignment of a number at the top
of a module. Texts, default values, annotations and decorators stay as they are.
docs/mutations.md says which mutants the tests do not notice, and why.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gc
import importlib
import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

METRICS = (
    "harness/test_golden_metrics",
    "harness/test_protocol_modes",
    "harness/test_reference_metrics",
    "harness/test_kernels",
)
STATS = tuple(f"leaderboard/test_{name}" for name in ("stats_seeds", "stats_images", "stats_simultaneous"))
PAGES = ("seen_test", "walls", "titles_and_notes", "tables")
BOARDS = tuple(f"leaderboard/test_{name}" for name in ("verdict", "choosing", "significance", "failed_seeds", *PAGES))

# What is mutated, and the tests that cover it: of those, what needs no training.
MODULES: dict[str, tuple[str, ...]] = {
    "harness/metrics/evaluator.py": METRICS,
    "harness/metrics/confusion.py": METRICS,
    "harness/metrics/statistics.py": METRICS,
    "harness/metrics/boundary.py": METRICS,
    "harness/metrics/surface.py": METRICS,
    "harness/metrics/exact.py": METRICS,
    "harness/metrics/image_level.py": METRICS,
    "harness/metrics/families/region.py": METRICS,
    "leaderboard/boards/estimate.py": (*STATS, *BOARDS),
    "leaderboard/stats/simultaneous.py": STATS,
    "leaderboard/stats/seeds.py": STATS,
    "leaderboard/stats/images.py": STATS,
    "leaderboard/stats/signs.py": (*STATS, "leaderboard/test_shown"),
    "leaderboard/stats/resampling.py": ("leaderboard/test_resampling", "leaderboard/test_samples"),
    "leaderboard/stats/samples.py": (*BOARDS, "leaderboard/test_samples"),
    "leaderboard/stats/significance.py": BOARDS,
    "leaderboard/boards/board.py": BOARDS,
    "leaderboard/boards/searched.py": BOARDS,
    "leaderboard/stats/verdict.py": BOARDS,
    "harness/config/fingerprint.py": ("harness/test_fingerprint", "harness/test_declared", "harness/test_components"),
    "harness/scoring/evaluate.py": ("harness/test_evaluate",),
    "harness/runner/driver.py": ("harness/test_driver",),
    "harness/runner/plan.py": ("harness/test_planning", "harness/test_declared", "harness/test_automatic"),
    "harness/results/store.py": ("harness/test_store", "harness/test_results"),
}

# Seconds after which a mutant counts as noticed, besides three times what its tests take.
PATIENCE_S = 20

_SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    """`harness/metrics/exact.py:28 a + b -> a - b`."""
    lines: range
    """Of its statement: a test that runs none of them cannot notice it."""
    function: str
    """The qualified name of the outermost function that it lies in; empty at the top of the module."""
    tree: ast.Module


def mutants(path: str) -> list[Mutant]:
    """Every mutant of a module."""
    source = (ROOT / path).read_text(encoding="utf-8")
    found = []
    for number, (node, _, _) in enumerate(_places(ast.parse(source))):
        for kind in range(_kinds(node)):
            tree = ast.parse(source)
            place, statement, function = list(_places(tree))[number]
            before = ast.unparse(place)
            _change(place, kind)
            body = getattr(statement, "body", None)
            last = body[0].lineno if isinstance(body, list) else (statement.end_lineno or statement.lineno) + 1
            lines = range(statement.lineno, max(last, statement.lineno + 1))
            name = f"{path}:{place.lineno} {_short(before)} -> {_short(ast.unparse(place))}"
            found.append(Mutant(name, lines, function, tree))
    return found


def _places(tree: ast.Module) -> Iterator[tuple[Any, Any, str]]:
    """Every node that may change, with its statement and the function it lies in."""

    def walk(node: ast.AST, statement: ast.AST, owner: str, inside: str) -> Iterator[tuple[Any, Any, str]]:
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            statement = node
        if isinstance(node, ast.FunctionDef):
            inside = inside or f"{owner}{node.name}"
            children: list[ast.AST] = list(node.body)
        elif isinstance(node, ast.ClassDef):
            children = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.ClassDef)]
            owner = f"{owner}{node.name}."
        elif isinstance(node, ast.AnnAssign):
            children = [node.value] if node.value else []
        else:
            children = list(ast.iter_child_nodes(node))
        if inside or isinstance(statement, ast.Assign):
            yield node, statement, inside
        for child in children:
            if not isinstance(child, ast.JoinedStr):
                yield from walk(child, statement, owner, inside)

    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign):
            yield from walk(node, node, "", "")


def _kinds(node: Any) -> int:
    """In how many ways a node can change."""
    if isinstance(node, ast.Compare):
        return len(node.ops)
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        return int(type(node.op) in _SWAPS)
    if isinstance(node, ast.UnaryOp):
        return int(not isinstance(node.operand, ast.Constant) and not isinstance(node.op, ast.UAdd))
    if isinstance(node, ast.Constant):
        return int(isinstance(node.value, bool | int | float))
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        return int(not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant))
    if isinstance(node, ast.Name):
        return int(node.id in _NAMES)
    if isinstance(node, ast.Attribute):
        return int(node.attr in _NAMES)
    if isinstance(node, ast.Return):
        return int(node.value is not None and not isinstance(node.value, ast.Constant))
    if isinstance(node, ast.Expr):
        return int(isinstance(node.value, ast.Call))
    return int(isinstance(node, ast.Break | ast.Continue))


def _change(node: Any, kind: int) -> None:
    """Change a node in place."""
    if isinstance(node, ast.Compare):
        node.ops[kind] = _SWAPS[type(node.ops[kind])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        node.op = _SWAPS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        if isinstance(node.op, ast.Not | ast.Invert):
            _become(node, node.operand)
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
    elif isinstance(node, ast.Name):
        node.id = _NAMES[node.id]
    elif isinstance(node, ast.Attribute):
        node.attr = _NAMES[node.attr]
    elif isinstance(node, ast.Return):
        node.value = ast.copy_location(ast.Constant(None), node)
    else:
        _become(node, ast.Pass() if isinstance(node, ast.Expr) else _other_jump(node))


def _other_jump(node: Any) -> ast.AST:
    return ast.Continue() if isinstance(node, ast.Break) else ast.Break()


def _become(node: Any, other: Any) -> None:
    """Make a node another one, where it stands."""
    place = {name: getattr(node, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    other = copy.copy(other)
    node.__class__ = other.__class__
    node.__dict__.clear()
    node.__dict__.update({**other.__dict__, **place})


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:67]}..."


def put_in(path: str, mutant: Mutant) -> None:
    """Replace what the mutant changes, in this process: the code of its function, or a name of the module."""
    module = importlib.import_module(_module(path))
    if not mutant.function:
        _assign(module, mutant)
        return
    codes = {code.co_qualname: code for code in _codes(compile(mutant.tree, str(ROOT / path), "exec"))}
    new = codes[mutant.function]
    name = (new.co_filename, new.co_qualname, new.co_freevars)
    for function in [thing for thing in gc.get_objects() if isinstance(thing, FunctionType)]:
        code = function.__code__
        if (code.co_filename, code.co_qualname, code.co_freevars) == name:
            function.__code__ = new


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def _assign(module: Any, mutant: Mutant) -> None:
    statement = next(s for s in mutant.tree.body if s.lineno == mutant.lines.start)
    names = dict(vars(module))
    exec(compile(ast.Module([statement], []), str(module.__file__), "exec"), names)
    for name, value in names.items():
        old = vars(module).get(name)
        if old is not value:
            for other in list(sys.modules.values()):  # whoever has imported it, too
                if getattr(other, "__dict__", {}).get(name) is old:
                    setattr(other, name, value)
            for function in [thing for thing in gc.get_objects() if isinstance(thing, FunctionType)]:
                given = function.__defaults__ or ()
                if any(one is old for one in given):
                    function.__defaults__ = tuple(value if one is old else one for one in given)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


class Judge:
    """A plugin of pytest that runs the mutants in place of the tests.

    Args:
        path: the module.
        chosen: its mutants.
    """

    def __init__(self, path: str, chosen: Sequence[Mutant]) -> None:
        self.path, self.chosen = path, chosen
        self.survivors: list[str] = []
        self.late = 0
        self.broken = "nothing was collected"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge every mutant."""
        items = session.items
        tests, seconds = self._who_runs_what(items)
        if self.broken:
            return True
        for at, mutant in enumerate(self.chosen):
            able = sorted({test for line in mutant.lines for test in tests[line]}, key=seconds.__getitem__)
            if not mutant.function:
                able = sorted(range(len(items)), key=seconds.__getitem__)
            limit = PATIENCE_S + 3 * sum(seconds[test] for test in able)
            began = time.monotonic()
            noticed = bool(able) and self._noticed(mutant, [items[test] for test in able], limit)
            if not noticed:
                self.survivors.append(mutant.name)
            self.late += noticed and time.monotonic() - began >= limit
            verdict = "noticed" if noticed else "SURVIVES" if able else "SURVIVES, run by no test"
            print(f"{at + 1:3d} {time.monotonic() - began:5.1f} s  {verdict}  {mutant.name}", flush=True)
        return True

    def _who_runs_what(self, items: list[pytest.Item]) -> tuple[dict[int, set[int]], list[float]]:
        """Of each line the tests that run it, and the seconds that each test takes."""
        self.broken, file = "", str(ROOT / self.path)
        tests: dict[int, set[int]] = defaultdict(set)
        seconds = [0.0] * len(items)
        reader, writer = os.pipe()
        if os.fork() == 0:
            with _quiet(), os.fdopen(writer, "w") as out:
                for at, item in enumerate(items):
                    lines: set[int] = set()

                    def trace(frame: FrameType, event: str, _: Any, lines: set[int] = lines) -> Any:
                        if frame.f_code.co_filename != file:
                            return None
                        lines.add(frame.f_lineno)
                        return lambda frame, *_: lines.add(frame.f_lineno) or trace  # type: ignore[func-returns-value]

                    began = time.monotonic()
                    threading.settrace(trace)
                    sys.settrace(trace)
                    failed = _run_test(item, items[at + 1] if at + 1 < len(items) else None)
                    sys.settrace(None)
                    threading.settrace(None)  # type: ignore[arg-type]
                    text = " ".join(map(str, sorted(lines)))
                    out.write(
                        f"{at} {time.monotonic() - began} {item.nodeid.replace(' ', '_') if failed else '-'} {text}\n"
                    )
                    out.flush()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as come:
            for line in come:
                at, took, failed, *lines = line.split()
                seconds[int(at)] = float(took)
                if failed != "-":
                    self.broken = f"{self.broken} {failed}"
                for number in lines:
                    tests[int(number)].add(int(at))
        os.wait()
        return tests, seconds

    def _noticed(self, mutant: Mutant, items: list[pytest.Item], limit: float) -> bool:
        """Whether one of the tests fails with the mutant in place, or they do not end in time."""
        child = os.fork()
        if child == 0:
            os.setpgrp()
            with _quiet():
                put_in(self.path, mutant)
                failed = any(
                    _run_test(item, items[at + 1] if at + 1 < len(items) else None) for at, item in enumerate(items)
                )
            os._exit(int(failed))
        ends = time.monotonic() + limit
        while time.monotonic() < ends:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status != 0
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True


def _run_test(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run one test; True if it fails."""
    before = item.session.testsfailed
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return item.session.testsfailed > before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is printed, and whatever goes wrong here ends the process with 2: a mutant that breaks pytest too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        yield
    except BaseException:  # noqa: BLE001
        os._exit(2)


def judge(path: str, count: int, seed: int, again: Collection[str]) -> Judge:
    """Judge a sample of a module's mutants, or those of some names, in this process and its forks."""
    every = mutants(path)
    chosen = random.Random(f"{seed} {path}").sample(every, min(count, len(every)))
    chosen = [mutant for mutant in every if mutant.name in again] if again else chosen
    plugin = Judge(path, sorted(chosen, key=lambda mutant: mutant.lines.start))
    files = [str(place) for name in MODULES[path] if (place := _test_file(name)) is not None]
    marks = "not slow and not long and not gpu"
    words = [
        "-q",
        "-s",
        "--no-header",
        "--no-summary",
        "-p",
        "no:cacheprovider",
        "-m",
        marks,
        "-k",
        "not postgresql",
        *files,
    ]
    pytest.main(words, plugins=[plugin])
    if plugin.broken:
        print(f"{path}: its tests fail as they are: {plugin.broken}", flush=True)
    late = f", {plugin.late} of them by the time they took" if plugin.late else ""
    noticed = len(chosen) - len(plugin.survivors)
    print(f"{path}: {len(every)} mutants, {len(chosen)} tried, {noticed} noticed{late}", flush=True)
    return plugin


def _test_file(name: str) -> Path | None:
    return next((p for p in (ROOT / "tests" / f"{name}.py", ROOT / "tests" / name) if p.exists()), None)


def _survivors(printed: Path) -> set[str]:
    """The names of the mutants that survived, by what a run has printed."""
    lines = (line.partition("SURVIVES")[2] for line in printed.read_text(encoding="utf-8").splitlines())
    return {line.split("  ", 1)[1] for line in lines if line}


def main() -> int:
    """Judge what was asked for, each module in a process of its own; returns 1 where its tests fail unchanged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of the modules' paths; all if none")
    parser.add_argument("--count", type=int, default=30, help="mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--again", type=Path, help="only what survived by this output of an earlier run")
    asked = parser.parse_args()
    status = 0
    again = _survivors(asked.again) if asked.again else set()
    asked_for = [path for path in MODULES if not asked.words or any(word in path for word in asked.words)]
    if again:
        asked_for = [path for path in asked_for if any(name.startswith(f"{path}:") for name in again)]
    for path in asked_for:  # imported once for all processes
        importlib.import_module(_module(path))
    for path in asked_for:
        if (child := os.fork()) == 0:
            os._exit(int(bool(judge(path, asked.count, asked.seed, again).broken)))
        status |= os.waitpid(child, 0)[1] != 0
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
