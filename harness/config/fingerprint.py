"""Job -> its train and score fingerprints, and the parts that explain why a result is stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.config.job import Job
from harness.datasets.folder import Definition
from harness.errors import SuiteError
from harness.metrics.metric import find_metric, split_metric
from harness.metrics.protocol import EVALUATOR_VERSION
from harness.models.sources import module_hash
from harness.utils.canonical import canonical, without_left_out

# Raised, after a release, whenever the same job would train to other weights or predict other labels. A new option
# needs no new version: `LeftOutAt` beside it says at which value everything is as it was before.
TRAINING_VERSION = 1


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: sorted keys, no spaces, floats by their shortest form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_parts(job: Job) -> dict[str, Any]:
    """What stands for weights that come from a file, scored as they are or trained on: their bytes.

    Raises:
        SuiteError: a file cannot be read.
    """
    parts: dict[str, Any] = {}
    if job.model.checkpoint is not None:
        parts["checkpoint"] = {"sha256": _file_digest(job.model.checkpoint), "label_map": job.model.label_map}
    if job.model.start_from is not None:
        parts["start_from"] = {"sha256": _file_digest(job.model.start_from)}
    return parts


def _file_digest(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SuiteError(f"the weights {name} cannot be read: {error.strerror}") from error


def train_parts(
    job: Job,
    model_source: str,
    data_manifest: str,
    weights: dict[str, Any] | None = None,
    backbone: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What decides the trained weights and the predicted label maps, part by part.

    Names and descriptions do not count; neither do the suite, the protocol nor limits of time and memory.

    Args:
        job: the job.
        model_source: SHA-256 of the network's source.
        data_manifest: SHA-256 of the data's manifest.
        weights: what `weights_parts` says.
        backbone: the submodules that the network declares as its backbone, which count where the head has a learning
            rate of its own; None where it declares none.
    """
    own_head_rate = job.recipe.optimizer.head_lr_factor != 1 and job.model.checkpoint is None
    return (weights or {}) | {
        **_shared_parts(job),
        **({"backbone": list(backbone)} if own_head_rate and backbone is not None else {}),
        "data": data_manifest,
        "model_source": model_source,
        **({"search": job.search["key"]} if job.search else {}),
        **({"ranks": job.resources.world_size} if job.resources.world_size > 1 else {}),
        "seed": job.seed,
        "threads": job.resources.cpus,
        "device": "gpu" if job.resources.gpus > 0 else "cpu",
        "images": job.images,
        **_validation(job),
        "training_version": TRAINING_VERSION,
    }


# What of a protocol moves scores that follow from pixel counts.
_OF_REGIONS = ("size", "level", "mean_over", "absent", "f1")


def _validation(job: Job) -> dict[str, Any]:
    """The conventions by which val chooses a checkpoint or ends a training, where they are not the usual ones."""
    if job.selection.rule == "last" and job.recipe.early_stop is None:
        return {}
    metric = split_metric(job.selection.metric)[0]
    unusual = job.validation.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    if find_metric(metric).family == "region":
        unusual = {name: value for name, value in unusual.items() if name in _OF_REGIONS}
    elif metric != "trimap_iou":
        unusual = {name: value for name, value in unusual.items() if not name.startswith("trimap")}
    return {"validation": unusual} if unusual else {}


# The last cell's parts, by the identity of what they were made from: its seeds share them, in memory too.
_last: tuple[tuple[Any, ...], dict[str, Any]] | None = None


# Fields of a recipe that move neither weights nor label maps.
_NOT_COMPUTED = ("name", "description", "checkpoint_every")


def _shared_parts(job: Job) -> dict[str, Any]:
    """The parts that all seeds of a cell have in common."""
    global _last
    made_from = (job.dataset, job.model, job.recipe, job.selection)
    if _last is None or any(a is not b for a, b in zip(_last[0], made_from, strict=True)):
        parts = {
            "dataset": {
                "name": job.dataset.name,
                "variant": job.dataset.variant,
                # Where a user's own folder stands does not matter; what its definition says does.
                "params": {key: _params(key, value) for key, value in job.dataset.params.items() if key != "path"},
            },
            "model": {"name": job.model.name, "params": job.model.params},
            "recipe": {k: v for k, v in canonical(job.recipe).items() if k not in _NOT_COMPUTED},
            # Its conventions are in `_validation`, whoever says them.
            "selection": {k: v for k, v in canonical(job.selection).items() if k != "protocol"},
        } | _foreign_code(job)
        _last = (made_from, parts)
    return _last[1]


def _foreign_code(job: Job) -> dict[str, Any]:
    """The source of losses, optimizers, schedules and augmentations of other packages; ours go by the version."""
    recipe = job.recipe
    used = (*recipe.loss.terms, recipe.optimizer, recipe.schedule, *recipe.augment)
    modules = {type(part).__module__ for part in used}
    foreign = sorted(module for module in modules if module.split(".")[0] != __name__.split(".")[0])
    return {"components": [module_hash(module) for module in foreign]} if foreign else {}


def _params(name: str, value: Any) -> Any:
    """A data set's parameter: of the definition of a user's own folder, what counts."""
    return without_left_out(Definition, value) if name == "definition" else value


def train_fingerprint(parts: dict[str, Any]) -> str:
    """The fingerprint of a training: the same one is never done twice."""
    return digest(parts)


def cell_fingerprint(parts: dict[str, Any]) -> str:
    """The fingerprint without the seed: runs that share it are repetitions of one another."""
    return digest({k: v for k, v in parts.items() if k != "seed"})


def score_fingerprint(train: str, job: Job) -> str:
    """The fingerprint of a score: a training, a protocol and the evaluator's version."""
    return digest({"train": train, "protocol": job.protocol_hash, "evaluator": EVALUATOR_VERSION})


def differing_parts(stored: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Name what differs between two sets of parts, as dotted paths with both values."""
    found: list[str] = []

    def compare(path: str, a: Any, b: Any) -> None:
        if isinstance(a, dict) and isinstance(b, dict):
            for key in sorted(a.keys() | b.keys()):
                compare(f"{path}.{key}" if path else key, a.get(key), b.get(key))
        elif a != b:
            found.append(f"{path}: {a!r} -> {b!r}")

    compare("", stored, json.loads(json.dumps(current)))
    return found
