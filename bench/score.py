"""`bench score`: label maps made by anything, scored by the standardized evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.console import DataOption, DbOption, new_console, table

if TYPE_CHECKING:
    from harness.metrics import Scores


def score(
    predictions: Annotated[
        Path, typer.Option("--predictions", "-p", metavar="DIR", help="Predicted label maps: palette or grey PNGs.")
    ],
    targets: Annotated[Path | None, typer.Option(metavar="DIR", help="True label maps, paired by name.")] = None,
    num_classes: Annotated[int | None, typer.Option(metavar="K", min=1, help="Labels are 0 to K-1.")] = None,
    ignore: Annotated[int, typer.Option(metavar="LABEL", help="The targets' void label.")] = 255,
    valid: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Regions to score, as PNGs: what is not black counts.")
    ] = None,
    foreground: Annotated[int | None, typer.Option(metavar="LABEL", help="Binary sets: the label that counts.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Score against a data set instead.")] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Its data variant.")] = None,
    split: Annotated[str, typer.Option(metavar="val|test", help="Its split; only test is ranked.")] = "test",
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Rank the scores in the database under this name.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which repetition of that name this is.")] = 0,
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

    Example: bench score --dataset voc --split test --predictions out/ --as my_net
    """
    from bench.progress import CountBar
    from harness.errors import BenchError
    from harness.results.score import Ranked
    from harness.results.score import score as score_label_maps

    if pretrained_on is not None and name is None:
        raise BenchError("--pretrained-on needs --as NAME: it is shown beside what is ranked")
    scored = score_label_maps(
        predictions,
        targets=targets,
        num_classes=num_classes,
        ignore_index=ignore,
        valid=valid,
        foreground=foreground,
        dataset=dataset,
        variant=variant,
        split=split,
        data_dir=data_dir,
        rank_as=None if name is None else Ranked(name, seed, db, pretrained_on),
        protocol=_protocol_fields(conventions or ()),
        tick=partial(CountBar(), "Scoring"),
    )
    if scored.suites:
        new_console(stderr=True).print(f"Ranked as {name!r} in: {', '.join(scored.suites)}", markup=False)
    _show(scored.scores, scored.classes, json)


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


def _show(scores: Scores, labels: Sequence[str], json: Path | None) -> None:
    """Print the scores as two tables, or as JSON."""
    import json as codec

    from harness.metrics.metric import class_score_names, find_metric, metric_title

    text = codec.dumps(scores.to_dict(), indent=2)
    if json is not None and str(json) == "-":
        print(text)
        return

    def shown(metric: str, value: float | None) -> str:
        return "–" if value is None else f"{value:.{find_metric(metric).digits}f}"

    console = new_console()
    rows = [(metric_title(metric), shown(metric, value)) for metric, value in scores.values.items()]
    title = f"{scores.n_images} images, protocol {scores.protocol['name']} ({scores.protocol_hash[:6]})"
    console.print(table(("score", "value"), rows, title=title, right=1))
    classes = [
        (label, *(shown(metric, scores.per_class[metric][index]) for metric in class_score_names()))
        for index, label in enumerate(labels)
    ]
    heads = ("class", *map(metric_title, class_score_names()))
    console.print(table(heads, classes, right=len(heads) - 1))
    if scores.skipped:
        console.print(f"{scores.skipped} image(s) have no scored pixel and were skipped.")
    if json is not None:
        from bench.export import write_whole

        write_whole(json, text + "\n")
