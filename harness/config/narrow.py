"""A suite cut down or widened: other models, data sets and seeds, or weights that are only scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.config.job import DatasetChoice, ModelChoice
from harness.config.suite import Suite
from harness.errors import SuiteError, UnknownName
from harness.models.registry import ModelEntry, known_models


def with_models(suite: Suite, names: Sequence[str], plugins: Mapping[str, ModelEntry] | None = None) -> Suite:
    """Only these models. One that the suite does not have joins it as it is.

    Args:
        suite: the suite.
        names: names, labels or titles.
        plugins: networks from single files.

    Raises:
        UnknownName: a name is neither in the suite nor known otherwise.
    """
    chosen: list[ModelChoice] = []
    for name in _whole(names, {title for m in suite.models for title in (m.label, m.title) if title}):
        own = [m for m in suite.models if name in (m.name, m.label, m.title)]
        known = {**known_models(), **(plugins or {})}
        if not own and name not in known:
            raise UnknownName.of("model", name, [*known, *(m.title for m in suite.models)], "bench models")
        chosen += own or [ModelChoice(name=name)]
    return suite.model_copy(update={"models": tuple(chosen)})


def _whole(parts: Sequence[str], labels: set[str]) -> list[str]:
    """The names of a list that was split at its commas: a label may have commas of its own."""
    found, start = [], 0
    while start < len(parts):
        ends = range(len(parts), start + 1, -1)
        end = next((end for end in ends if ", ".join(parts[start:end]) in labels), start + 1)
        found.append(", ".join(parts[start:end]))
        start = end
    return found


def with_datasets(suite: Suite, names: Sequence[str]) -> Suite:
    """Only these data sets. One that the suite does not have joins it in its default variant."""
    picked: list[DatasetChoice] = []
    for name in names:
        picked += [d for d in suite.datasets if d.name == name] or [DatasetChoice(name=name)]
    return suite.model_copy(update={"datasets": tuple(picked)})


def with_checkpoint(
    suite: Suite, checkpoint: Path, label_map: Sequence[int] | None = None, pretrained_on: tuple[str, ...] | None = None
) -> Suite:
    """Score a file of weights as it is: one model, one seed, no grid; nothing is trained.

    Args:
        suite: a suite of one model.
        checkpoint: the file.
        label_map: where the model was trained on other classes: for each of them, the data set's.
        pretrained_on: the data sets the weights were trained on, where that is known; None keeps what the suite says.

    Raises:
        SuiteError: the suite has several models, or there is no such file.
    """
    if len(suite.models) != 1:
        names = ", ".join(m.title for m in suite.models)
        raise SuiteError(f"--checkpoint needs one model; choose it with --models: {names}")
    if not checkpoint.is_file():
        raise SuiteError(f"--checkpoint {checkpoint}: there is no such file")
    # Weights pretrained on ImageNet would only be overwritten.
    (model,) = suite.models
    params = {key: value for key, value in model.params.items() if key != "pretrained"}
    table = None if label_map is None else tuple(label_map)
    said = model.pretrained_on if pretrained_on is None else pretrained_on
    own = model.model_copy(
        update={
            "checkpoint": str(checkpoint.resolve()),
            "start_from_run": None,
            "label_map": table,
            "params": params,
            "pretrained_on": said,
        }
    )
    return suite.model_copy(update={"models": (own,), "seeds": suite.seeds[:1], "grid": {}})


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,5` or `0-4`, or both.

    Raises:
        SuiteError: it is neither.
    """
    seeds: list[int] = []
    for part in filter(None, map(str.strip, text.split(","))):
        first, dash, last = part.partition("-")
        try:
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
        except ValueError as error:
            raise SuiteError(f"--seeds {text}: write them as 0,1,2 or 0-4") from error
    if not seeds:
        raise SuiteError(f"--seeds {text}: names no seed")
    return tuple(dict.fromkeys(seeds))
