"""`bench score`: label maps made by anything, scored by the standardized evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.console import DataOption, DbOption, new_console, table

if TYPE_CHECKING:
    from harness.results.score import Scored
    from harness.scoring.label_files import LabelTable


def score(
    predictions: Annotated[
        Path, typer.Option("--predictions", "-p", metavar="DIR", help="Predicted label maps: palette or grey PNGs.")
    ],
    targets: Annotated[Path | None, typer.Option(metavar="DIR", help="True label maps, paired by name.")] = None,
    num_classes: Annotated[int | None, typer.Option(metavar="K", min=1, help="Labels are 0 to K-1.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="0:0,255:1", help="What each value means: a class, or void. Default: values are classes."),
    ] = None,
    void: Annotated[
        str | None,
        typer.Option("--void", "--ignore", metavar="LABEL|none", help="The targets' void label.", show_default="255"),
    ] = None,
    valid: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Regions to score, as PNGs: what is not black counts.")
    ] = None,
    foreground: Annotated[int | None, typer.Option(metavar="LABEL", help="Binary sets: the label that counts.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Score against a data set instead.")] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Its data variant.")] = None,
    split: Annotated[
        str | None, typer.Option(metavar="val|test", help="Its split; only test is ranked.", show_default="test")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Rank the scores in the database under this name.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --as: which repetition of that name this is.", show_default="0")
    ] = None,
    pretrained_on: Annotated[
        str | None,
        typer.Option(metavar="A,B|none", help="With --as: the data sets that what made them was pretrained on."),
    ] = None,
    conventions: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the protocol.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every score as JSON (- prints it).")] = None,
    data_dir: DataOption = None,
    db: DbOption = None,
) -> None:
    """Score a folder of label maps, whatever made them.

    With --targets, against another folder. With --dataset, against a data set's split; --as then ranks the scores with
    the suites that scored the same images, marked as predictions from outside.

    Example: bench score --predictions out/ --targets masks/ --num-classes 21

    Example: bench score --predictions out/ --targets masks/ --num-classes 2 --labels 0:0,255:1

    Example: bench score --dataset voc --split test --predictions out/ --as my_net
    """
    from bench.progress import CountBar
    from harness.errors import BenchError
    from harness.results.score import Ranked
    from harness.results.score import score as score_label_maps

    for option, value in (("--pretrained-on", pretrained_on), ("--seed", seed), ("--db", db)):
        if value is not None and name is None:
            raise BenchError(f"{option} needs --as NAME: it is for scores that are ranked")
    scored = score_label_maps(
        predictions,
        targets=targets,
        num_classes=num_classes,
        ignore_index=_void_label(void),
        labels=_label_table(labels),
        valid=valid,
        foreground=foreground,
        dataset=dataset,
        variant=variant,
        split=split,
        data_dir=data_dir,
        rank_as=None if name is None else Ranked(name, seed or 0, db, pretrained_on),
        protocol=_protocol_fields(conventions or ()),
        tick=partial(CountBar(), "Scoring"),
    )
    if scored.suites:
        new_console(stderr=True).print(f"Ranked as {name!r} in: {', '.join(scored.suites)}", markup=False)
    _show(scored, json)


def _void_label(text: str | None) -> int | Literal["none"] | None:
    """What --void says."""
    from harness.errors import BenchError

    if text is None:
        return None
    if text == "none":
        return "none"
    if not text.isdigit() or int(text) > 255:
        raise BenchError(f"--void {text}: write a label from 0 to 255, or none")
    return int(text)


def _label_table(text: str | None) -> LabelTable | None:
    """What --labels says."""
    from harness.errors import BenchError

    if text is None:
        return None
    table: dict[int, int | Literal["void"]] = {}
    for part in text.split(","):
        value, _, label = (side.strip() for side in part.partition(":"))
        known = value.isdigit() and int(value) <= 255 and (label == "void" or label.isdigit())
        if not known or int(value) in table:
            raise BenchError(
                f"--labels {text}: {part.strip()!r} is not VALUE:CLASS", "Write each value of 0 to 255 once: 0:0,255:1"
            )
        table[int(value)] = "void" if label == "void" else int(label)
    return table


def _protocol_fields(conventions: Sequence[str]) -> dict[str, Any]:
    """What --set says of the protocol."""
    from harness.errors import SuiteError
    from harness.utils.yaml_file import parse_value

    fields: dict[str, Any] = {}
    for convention in conventions:
        key, equals, text = convention.partition("=")
        if not equals:
            raise SuiteError(f"--set {convention}: write it as key=value, e.g. void=mask")
        fields[key.strip().removeprefix("protocol.")] = parse_value(text)
    return fields


def _show(scored: Scored, json: Path | None) -> None:
    """Print the scores as two tables, or as JSON."""
    import json as codec
    from dataclasses import asdict

    from harness.metrics.metric import class_score_names, find_metric, metric_title
    from harness.metrics.protocol import protocol_title

    scores = scored.scores
    text = codec.dumps({**scores.to_dict(), "pixels": asdict(scored.pixels)}, indent=2)
    if json is not None and str(json) == "-":
        print(text)
        return

    def shown(metric: str, value: float | None) -> str:
        return "–" if value is None else f"{value:.{find_metric(metric).digits}f}"

    console = new_console()
    rows = [(metric_title(metric), shown(metric, value)) for metric, value in scores.values.items()]
    title = f"{scores.n_images} images, protocol {protocol_title(scores.protocol)} ({scores.protocol_hash[:6]})"
    console.print(table(("score", "value"), rows, title=title, right=1))
    known = [name for name in class_score_names() if any(v is not None for v in scores.per_class[name])]
    classes = [
        (label, *(shown(metric, scores.per_class[metric][index]) for metric in known))
        for index, label in enumerate(scored.classes)
    ]
    heads = ("class", *map(metric_title, known))
    console.print(table(heads, classes, right=len(heads) - 1))
    console.print(_pixels(scored))
    if scores.skipped:
        console.print(f"{scores.skipped} image(s) have no scored pixel and were skipped.")
    if json is not None:
        from bench.export import write_whole

        write_whole(json, text + "\n")


def _pixels(scored: Scored) -> str:
    """How many pixels the scores stand on, and how many they leave out."""
    pixels = scored.pixels
    total = max(1, pixels.scored + pixels.void + pixels.outside)

    def share(count: int) -> str:
        return f"{count:,} ({100 * count / total:.1f} %)"

    told = f"{share(pixels.scored)} pixels scored, {share(pixels.void)} void"
    if pixels.outside:
        told += f", {share(pixels.outside)} outside the regions"
    return told + ("; the predictions were read by --labels." if scored.read_by_table else ".")
