"""`bench score`: label maps made by anything, scored by the standardized evaluator."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.console import DataOption, DbOption, new_console, table

if TYPE_CHECKING:
    from harness.metrics import Protocol, Scores


def score(
    predictions: Annotated[
        Path, typer.Option("--predictions", "-p", metavar="DIR", help="Predicted label maps: palette or grey PNGs.")
    ],
    targets: Annotated[Path | None, typer.Option(metavar="DIR", help="True label maps, paired by name.")] = None,
    num_classes: Annotated[int | None, typer.Option(metavar="K", min=1, help="Labels are 0 to K-1.")] = None,
    ignore: Annotated[int, typer.Option(metavar="LABEL", help="The targets' void label.")] = 255,
    valid: Annotated[Path | None, typer.Option(metavar="DIR", help="Regions to score: PNGs, not black there.")] = None,
    foreground: Annotated[int | None, typer.Option(metavar="LABEL", help="Binary sets: what counts.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Score against a data set instead.")] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Its data variant.")] = None,
    split: Annotated[str, typer.Option(metavar="val|test", help="Its split; only test is ranked.")] = "test",
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Rank the scores in the database under this name.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which repetition of that name this is.")] = 0,
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
    from harness.errors import BenchError

    if (dataset is None) == (targets is None):
        raise BenchError("give either --targets DIR or --dataset NAME", "See: bench score --help")
    if dataset is not None:
        scores, labels = _score_dataset(
            predictions, dataset, variant, split, name, seed, conventions or (), data_dir, db
        )
    else:
        if num_classes is None:
            raise BenchError("--targets needs --num-classes K", "K counts the background; void does not count.")
        if name is not None:
            raise BenchError("--as needs --dataset: what is ranked must be scored against a known split")
        scores = _score_folder(predictions, targets, num_classes, ignore, valid, foreground, conventions or ())
        labels = [str(label) for label in range(num_classes)]
    _show(scores, labels, json)


def _protocol(base: dict[str, Any], conventions: list[str] | tuple[str, ...]) -> Protocol:
    from harness.errors import SuiteError
    from harness.metrics import Protocol
    from harness.utils.yaml_file import parse_value, validate

    fields = dict(base)
    for convention in conventions:
        key, equals, text = convention.partition("=")
        if not equals:
            raise SuiteError(f"--set {convention}: write it as key=value, e.g. void=mask")
        fields[key.strip().removeprefix("protocol.")] = parse_value(text)
    return validate(Protocol, fields, None, "protocol")


def _score_folder(
    predictions: Path,
    targets: Path | None,
    num_classes: int,
    ignore: int,
    valid: Path | None,
    foreground: int | None,
    conventions: list[str] | tuple[str, ...],
) -> Scores:
    import os

    from bench.progress import CountBar
    from harness.errors import BenchError
    from harness.metrics import Evaluator
    from harness.scoring.label_files import label_files, predictions_of, score_files, truth_in

    if foreground is not None and not 0 <= foreground < num_classes:
        raise BenchError(f"--foreground {foreground} is none of the labels 0 to {num_classes - 1}")
    true = label_files(targets or Path())
    guessed = predictions_of(predictions, true)
    base = {"background": 0 if num_classes > 1 else None}
    evaluator = Evaluator(num_classes, ignore, _protocol(base, conventions), foreground)
    bar = partial(CountBar(), "Scoring")
    score_files(guessed, truth_in(true, valid), evaluator, os.cpu_count() or 1, bar)
    return evaluator.compute()


def _score_dataset(
    predictions: Path,
    dataset: str,
    variant: str | None,
    split: str,
    name: str | None,
    seed: int,
    conventions: list[str] | tuple[str, ...],
    data_dir: Path | None,
    db: str | None,
) -> tuple[Scores, list[str]]:
    from bench.progress import CountBar
    from harness.datasets import data_dir as folder_of
    from harness.datasets import open_dataset
    from harness.errors import BenchError
    from harness.results.submission import score_submission

    if split not in ("val", "test"):
        raise BenchError(f"--split {split}: choose val or test")
    copy = open_dataset(dataset, variant, folder_of(data_dir))
    protocol = _protocol(copy.info.protocol, conventions)
    bar = partial(CountBar(), "Scoring")
    scores, suites = score_submission(copy, split, predictions, protocol, name, seed, db, bar)
    if suites:
        new_console(stderr=True).print(f"Ranked as {name!r} in: {', '.join(suites)}", markup=False)
    return scores, list(copy.info.classes)


def _show(scores: Scores, labels: list[str], json: Path | None) -> None:
    """Print the scores as two tables, or as JSON."""
    import json as codec

    from harness.metrics.scores import PER_CLASS
    from leaderboard.tables import digits, metric_title

    text = codec.dumps(scores.to_dict(), indent=2)
    if json is not None and str(json) == "-":
        print(text)
        return

    def shown(metric: str, value: float | None) -> str:
        return "–" if value is None else f"{value:.{digits(metric)}f}"

    console = new_console()
    rows = [(metric_title(metric), shown(metric, value)) for metric, value in scores.values.items()]
    title = f"{scores.n_images} images, protocol {scores.protocol['name']} ({scores.protocol_hash[:6]})"
    console.print(table(("score", "value"), rows, title=title, right=1))
    classes = [
        (label, *(shown(metric, scores.per_class[metric][index]) for metric in PER_CLASS))
        for index, label in enumerate(labels)
    ]
    heads = ("class", *map(metric_title, PER_CLASS))
    console.print(table(heads, classes, right=len(PER_CLASS)))
    if scores.skipped:
        console.print(f"{scores.skipped} image(s) have no scored pixel and were skipped.")
    if json is not None:
        from bench.export import write_whole

        write_whole(json, text + "\n")
