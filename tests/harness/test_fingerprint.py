"""The fingerprint decides what is trained again: its hash is frozen, field by field."""

from __future__ import annotations

import pytest

from harness.config.fingerprint import (
    cell_fingerprint,
    differing_parts,
    score_fingerprint,
    train_fingerprint,
    train_parts,
)
from harness.config.recipe import Recipe
from harness.config.suite import DatasetChoice, Job, ModelChoice, Resources, Selection
from harness.metrics import Protocol

JOB = Job(
    suite="frozen",
    dataset=DatasetChoice(name="voc", variant="cut9"),
    model=ModelChoice(name="unet", params={"width": 8}, label="Label"),
    recipe=Recipe.model_validate(
        {
            "name": "some", "description": "text", "size": [64, 96], "epochs": 3, "batch_size": 2,
            "optimizer": {"name": "sgd", "lr": 0.25, "weight_decay": 0.5, "momentum": 0.5, "nesterov": True},
            "schedule": {"name": "cosine", "per": "epoch", "warmup": 2}, "loss": ["ce", "dice"],
            "augment": [{"op": "hflip", "p": 0.25}], "normalize": "unit", "precision": "bf16", "grad_clip": 1.0,
            "val_every": 2, "predict": {"mode": "whole"},
        }
    ),
    seed=7,
    selection=Selection(metric="pa"),
    protocol=Protocol(),
    resources=Resources(cpus=2, memory_gb=4, time_limit_s=60),
    grid={"lr": 0.25},
)  # fmt: skip


def fingerprint(job: Job, source: str = "s", data: str = "d") -> str:
    return train_fingerprint(train_parts(job, source, data))


def test_the_fingerprint_of_a_job_never_changes_by_accident() -> None:
    # If this fails, the same job would be trained again in every database there is. Where that is meant, because
    # it would now train to other weights, raise TRAINING_VERSION and store the new hash; else mend the change.
    assert fingerprint(JOB) == "a84bed7de04c9c0316a65b3345300808fba7059dd68a3664761c178232f0e329"


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": DatasetChoice(name="voc", variant="official")},
        {"model": ModelChoice(name="unet", params={"width": 9})},
        {"seed": 8},
        {"selection": Selection(rule="last")},
        {"recipe": JOB.recipe.model_copy(update={"batch_size": 3})},
        {"resources": Resources(cpus=1)},
        {"images": 4},
    ],
    ids=["variant", "params", "seed", "selection", "recipe", "threads", "images"],
)
def test_what_moves_the_weights_moves_the_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint(JOB.model_copy(update=change)) != fingerprint(JOB)


def test_source_and_data_move_the_fingerprint() -> None:
    assert len({fingerprint(JOB), fingerprint(JOB, source="t"), fingerprint(JOB, data="e")}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "other"},
        {"model": ModelChoice(name="unet", params={"width": 8}, label="Another")},
        {"recipe": JOB.recipe.model_copy(update={"name": "renamed", "description": "new"})},
        {"resources": Resources(cpus=2, memory_gb=1, time_limit_s=1)},
        {"protocol": Protocol(void="mask")},
        {"grid": {}},
    ],
    ids=["suite", "label", "recipe name", "limits", "protocol", "grid"],
)
def test_names_and_limits_and_the_protocol_do_not(change: dict[str, object]) -> None:
    assert fingerprint(JOB.model_copy(update=change)) == fingerprint(JOB)


def test_a_protocol_moves_only_the_score_fingerprint() -> None:
    other = JOB.model_copy(update={"protocol": Protocol(void="mask")})
    assert score_fingerprint("t", JOB) != score_fingerprint("t", other)


def test_seeds_share_a_cell() -> None:
    one, two = (train_parts(JOB.model_copy(update={"seed": s}), "s", "d") for s in (1, 2))
    assert train_fingerprint(one) != train_fingerprint(two)
    assert cell_fingerprint(one) == cell_fingerprint(two)


def test_what_differs_is_named() -> None:
    old = train_parts(JOB, "s", "d")
    new = train_parts(JOB.model_copy(update={"seed": 9}), "t", "d")
    assert differing_parts(old, new) == ["model_source: 's' -> 't'", "seed: 7 -> 9"]
