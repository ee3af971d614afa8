"""`bench check-data`: whether a copy of a data set is sound."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.console import DataOption, new_console, table

if TYPE_CHECKING:
    from harness.datasets.checkup import Checkup

# Findings of a kind that are shown without --all.
SHOWN = 10


def check_data(
    dataset: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A data set, or a folder with a dataset.yaml.")],
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Its data variant.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write names, sizes and SHA-256 of every file as JSON.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every finding, not the first ten of each kind.")] = False,
    data_dir: DataOption = None,
) -> None:
    """Open every file of a data set and say what is wrong, a line each.

    Looks for missing, broken and mismatched files, unknown labels, empty masks, images in two splits, the same or
    almost the same picture in two splits, and classes that cannot be learned. Ends with 1 if a run would refuse it.

    Example: bench check-data voc --data-dir DIR
    """
    from bench.progress import CountBar
    from harness.datasets import data_dir as folder_of
    from harness.datasets import open_dataset
    from harness.datasets.checkup import check

    name = str(Path(dataset).resolve()) if Path(dataset).is_dir() else dataset
    copy = open_dataset(name, variant, folder_of(data_dir), obtain=False)
    result = check(copy, partial(CountBar(), f"Checking {copy.info.title}"))
    console = new_console()
    _show(result, console, every)
    if manifest is not None and result.manifest is not None:
        import json

        from bench.export import write_whole

        facts = {"dataset": copy.info.name, "variant": copy.variant, "sha256": result.manifest.hash}
        write_whole(manifest, json.dumps({**facts, "splits": result.manifest.splits}, indent=1) + "\n")
        console.print(f"wrote {manifest}")
    if result.errors:
        raise typer.Exit(1)


def _show(result: Checkup, console: Any, every: bool) -> None:
    """The facts of the copy, its classes, and what was found."""
    from harness.datasets.base import SPLITS

    copy = result.dataset
    info = copy.info
    images = ", ".join(f"{split} {result.images[split]}" for split in SPLITS)
    console.print(f"{info.title} ({copy.variant}) at {copy.root}: {images}", markup=False)
    if result.sizes.total():
        height, width = result.sizes.most_common(1)[0][0]
        several = f"{len(result.sizes)} sizes, most often {width}×{height}"
        told = f"all of {width}×{height}" if len(result.sizes) == 1 else several
        console.print(f"{sum(result.sizes.values())} images opened, {told}", markup=False)
        _show_classes(result, console)
    shown: Counter[tuple[str, str]] = Counter()
    for finding in sorted(result.findings, key=lambda f: (f.severity != "error", f.kind)):
        of_kind = finding.severity, finding.kind
        shown[of_kind] += 1
        if every or shown[of_kind] <= SHOWN:
            console.print(f"{finding.severity}: {finding.kind}: {finding.message}", markup=False, soft_wrap=True)
    for (severity, kind), count in shown.items():
        if count > SHOWN and not every:
            console.print(f"{severity}: {kind}: {count - SHOWN} more (--all)", markup=False)
    warnings = len(result.findings) - len(result.errors)
    console.print(f"{len(result.errors)} error(s), {warnings} warning(s).")
    if result.manifest is not None:
        console.print(f"Manifest SHA-256: {result.manifest.hash}")


def _show_classes(result: Checkup, console: Any) -> None:
    """In how many images and pixels each class is."""
    from harness.datasets.base import SPLITS

    info = result.dataset.info
    totals = {split: max(1, int(result.pixels[split].sum())) for split in SPLITS}
    rows = []
    for label, name in [*enumerate(info.classes), (info.ignore_index, "void")]:
        shares = [f"{100 * result.pixels[s][label] / totals[s]:.2f} %" for s in SPLITS]
        rows.append((name, *(f"{result.holding[s][label]}" for s in SPLITS), *shares))
    columns = ("class", *(f"images in {s}" for s in SPLITS), *(f"pixels in {s}" for s in SPLITS))
    console.print(table(columns, rows, right=6))
