"""Writes the figures of benchmarks/history.jsonl into README.md and docs/, wherever a place is marked.

    python -m benchmarks.figures            write them
    python -m benchmarks.figures --check    say which are stale; ends with 1 if one is

A place is `<!-- bench:NAME -->…<!-- /bench -->`, invisible on the page, with a record's name: its ratio goes there. A
second word asks for something else: `range` (lowest to highest ratio), `ours`, `theirs`, `what`. `bench:table` is a
table of all records, `bench:training` one of the training loops, `bench:conditions` says where and when. The newest
record counts; one of a run with --quick only where there is no other. A place whose record has not been measured yet
keeps its text.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.history import Entry, Record, newest, read
from benchmarks.run import figure, spread, times

ROOT = Path(__file__).resolve().parents[1]
PLACE = re.compile(r"<!-- bench:(\S+)(?: (\w+))? -->(.*?)<!-- /bench -->", re.DOTALL)

Newest = Mapping[str, tuple[Record, Entry]]


def pages() -> list[Path]:
    """The files that may have marked places."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def with_figures(text: str, found: Newest) -> str:
    """A page with the newest figures in its marked places.

    Raises:
        ValueError: a place asks for something that does not exist.
    """

    def replaced(place: re.Match[str]) -> str:
        name, form, old = place.group(1), place.group(2), place.group(3)
        new = content(name, form or "ratio", found)
        head = place.group(0)[: place.start(3) - place.start(0)]
        return f"{head}{old if new is None else new}<!-- /bench -->"

    return PLACE.sub(replaced, text)


def content(name: str, form: str, found: Newest) -> str | None:
    """What belongs into a place; None where it has not been measured.

    Raises:
        ValueError: there is no such form.
    """
    if name in BLOCKS:
        return BLOCKS[name](found)
    if form not in FORMS:
        raise ValueError(f"bench:{name} {form}: the forms are {', '.join(FORMS)}")
    return None if name not in found else FORMS[form](found[name][0])


FORMS: dict[str, Callable[[Record], str]] = {
    "ratio": lambda one: times(one.ratio),
    "range": spread,
    "ours": lambda one: f"{figure(one.ours)} {one.unit}",
    "theirs": lambda one: f"{figure(one.theirs)} {one.unit}",
    "what": lambda one: one.what,
}


def whole_table(found: Newest) -> str | None:
    """Every record: its ratio, or its figure where it has no peer. The clock's seconds depend on what else runs."""
    if not found:
        return None
    lines = ["| what | against | ratio | lowest to highest | repetitions |", "|---|---|---:|---|---:|"]
    for one, _ in found.values():
        measured = times(one.ratio) or f"{figure(one.ours)} {one.unit}"
        lines.append(f"| {one.what} | {one.peer} | {measured} | {spread(one)} | {one.repetitions} |")
    return "\n" + "\n".join(lines) + "\n"


# Columns of the table of training loops: a record's last word, and what it is called.
LOOPS = {
    "bare_fp32": "ours in fp32 : bare", "bare_bf16": "ours in bf16 : bare", "torchvision_fp32": "fp32 : torchvision's",
    "torchvision": "bf16 : torchvision's", "lightning": "bf16 : Lightning with smp",
}  # fmt: skip


def training_table(found: Newest) -> str | None:
    """The training loops, a line for each network."""
    networks: dict[str, dict[str, Record]] = {}
    for name, (one, _) in found.items():
        part, _, rest = name.partition(".")
        if part == "training" and not one.name.rpartition(".")[0].endswith("_small"):
            network, _, loop = rest.rpartition(".")
            networks.setdefault(network, {})[loop] = one
    if not networks:
        return None
    lines = ["| | images a second in bf16 | " + " | ".join(LOOPS.values()) + " |", "|---|---:|" + "---:|" * len(LOOPS)]
    for loops in networks.values():
        some = loops["bare_bf16"]
        cells = [some.what.partition(": ")[0].removeprefix("training steps of "), figure(some.ours)]
        cells += [times(loops[loop].ratio) if loop in loops else "" for loop in LOOPS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n" + "\n".join(lines) + "\n"


def conditions(found: Newest) -> str | None:
    """Where and when the newest figures were taken."""
    if not found:
        return None
    said = []
    for one in sorted({id(e): e for _, e in found.values()}.values(), key=lambda e: e.date):
        machine = one.machine
        gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
        kind = "the short form (`--quick`), " if one.quick else ""
        said.append(
            f"{kind}{one.date[:10]}, commit {(one.commit or 'unknown')[:7]}, {machine['cores']} cores of "
            f"{machine['processor']}{gpus}, load {one.load[0]:.1f} before and {one.load[1]:.1f} after"
        )
    return "; ".join(said)


BLOCKS: dict[str, Callable[[Newest], str | None]] = {
    "table": whole_table,
    "training": training_table,
    "conditions": conditions,
}


def main() -> int:
    """Write the pages, or say which are stale; returns 1 where one is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    asked = parser.parse_args()
    found, stale = newest(read()), 0
    for path in pages():
        old = path.read_text(encoding="utf-8")
        new = with_figures(old, found)
        for name in sorted({place.group(1) for place in PLACE.finditer(old)} - set(found) - set(BLOCKS)):
            print(f"{path.relative_to(ROOT)}: {name} has not been measured yet")
        if new != old:
            stale += 1
            print(f"{path.relative_to(ROOT)}: {'stale' if asked.check else 'written'}")
            if not asked.check:
                path.write_text(new, encoding="utf-8")
    return 1 if asked.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
