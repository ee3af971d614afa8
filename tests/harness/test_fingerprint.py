"""The fingerprint decides what is trained again: its hash is frozen, field by field."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import pytest

from harness.config.fingerprint import (
    TRAINING_VERSION,
    cell_fingerprint,
    differing_parts,
    score_fingerprint,
    train_fingerprint,
    train_parts,
    weights_parts,
)
from harness.config.job import DatasetChoice, Job, ModelChoice, Resources, Selection
from harness.config.recipe import Recipe
from harness.datasets.folder import Definition
from harness.errors import SuiteError
from harness.losses.dice import Dice
from harness.metrics import Protocol
from harness.metrics.protocol import EVALUATOR_VERSION
from harness.utils.canonical import LeftOutAt

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


def test_given_weights_count_by_their_bytes(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()

    def parts(**model: Any) -> dict[str, Any]:
        return weights_parts(JOB.model_copy(update={"model": JOB.model.model_copy(update=model)}))

    assert parts() == {}
    assert parts(checkpoint=str(file), label_map=(1, 0)) == {"checkpoint": {"sha256": digest, "label_map": (1, 0)}}
    assert parts(start_from=str(file)) == {"start_from": {"sha256": digest}}
    with pytest.raises(SuiteError, match="cannot be read"):
        parts(checkpoint=str(tmp_path / "nowhere.pt"))


# Version -> the fingerprint of the job above. Databases hold such hashes: once a version is released, its line is never
# edited.
FINGERPRINTS = {
    1: "d1f5a3096b6ad6fc274081e9ce61409b581f89003850fe8c73f63e8c95964c1d",
}


def test_the_fingerprint_of_a_job_never_changes_by_accident() -> None:
    assert FINGERPRINTS.get(TRAINING_VERSION) == fingerprint(JOB), (
        "the same job would be trained again in every database there is. Where that is meant, because it would now "
        "train to other weights, raise TRAINING_VERSION and add a line; never edit a released one. A new option is "
        "declared with LeftOutAt instead."
    )


class WiderRecipe(Recipe):
    mixup: Annotated[float, LeftOutAt(0)] = 0.0


class WiderSelection(Selection):
    # Its default has changed since: who sets what everybody had before still has the hash of before.
    ties: Annotated[tuple[str, ...] | None, LeftOutAt(None)] = ("first",)


class WiderDice(Dice):
    squared: Annotated[bool, LeftOutAt(True)] = True


WiderDice.__module__ = Dice.__module__  # as if it had been added to the project's own loss


class WiderProtocol(Protocol):
    rounding: Annotated[int | None, LeftOutAt(None)] = None


def test_a_new_field_moves_no_fingerprint_until_it_is_set() -> None:
    fields = JOB.recipe.model_dump()
    terms = fields["loss"].pop("terms")
    terms = tuple(kind(**term) for kind, term in zip((type(JOB.recipe.loss.terms[0]), WiderDice), terms, strict=True))
    loss = JOB.recipe.loss.model_copy(update={"terms": terms})
    wider = WiderRecipe.model_validate(fields | {"loss": loss})
    assert fingerprint(JOB.model_copy(update={"recipe": wider})) == fingerprint(JOB)
    moved = {fingerprint(JOB)}
    moved.add(fingerprint(JOB.model_copy(update={"recipe": wider.model_copy(update={"mixup": 0.5})})))
    flat = loss.model_copy(update={"terms": (terms[0], terms[1].model_copy(update={"squared": False}))})
    moved.add(fingerprint(JOB.model_copy(update={"recipe": wider.model_copy(update={"loss": flat})})))
    for ties in (None, ("first",), ("last",)):
        selection = WiderSelection(metric="pa", ties=ties)
        moved.add(fingerprint(JOB.model_copy(update={"selection": selection})))
    assert len(moved) == 5


# Version of the evaluator -> hash of the standard protocol; as above.
PROTOCOLS = {
    1: "d36d16496247afa6b56033b72ffad4a29baa485824cfa941a534303742b8a21f",
}


def test_the_hash_of_the_standard_protocol_never_changes_by_accident() -> None:
    assert PROTOCOLS.get(EVALUATOR_VERSION) == Protocol().hash, (
        "every score there is would be apart from those made from now on. Where that is meant, raise EVALUATOR_VERSION "
        "and add a line; never edit a released one. A new convention is declared with LeftOutAt instead."
    )


def test_a_new_field_moves_no_hash_of_a_protocol_until_it_is_set() -> None:
    assert WiderProtocol().hash == Protocol().hash
    assert WiderProtocol().hash_of(True, 2) == Protocol().hash_of(True, 2)
    assert WiderProtocol(rounding=3).hash != Protocol().hash


def test_a_folder_s_definition_counts_by_its_fields_and_not_by_where_it_stands() -> None:
    definition = Definition(name="kidney", classes=("background", "kidney")).model_dump(mode="json")
    one, two, other = (
        JOB.model_copy(update={"dataset": DatasetChoice(name="kidney", params={"definition": given, "path": path})})
        for given, path in ((definition, "/a"), (definition, "/b"), (definition | {"seed": 1}, "/a"))
    )
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)
    assert train_parts(one, "s", "d")["dataset"]["params"] == {"definition": definition}


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
        {"recipe": JOB.recipe.model_copy(update={"checkpoint_every": 5})},
        {"resources": Resources(cpus=2, memory_gb=1, time_limit_s=1)},
        {"protocol": Protocol(void="mask")},
        {"grid": {}},
    ],
    ids=["suite", "label", "recipe name", "checkpoints", "limits", "protocol", "grid"],
)
def test_names_and_limits_and_the_protocol_do_not(change: dict[str, object]) -> None:
    assert fingerprint(JOB.model_copy(update=change)) == fingerprint(JOB)


@pytest.mark.parametrize(
    ("metric", "conventions", "moves"),
    [
        ("miou", {"size": (64, 64)}, True),
        ("miou", {"level": "image"}, True),
        ("miou", {"biou_dilation": 0.01}, False),
        ("biou", {"biou_dilation": 0.01}, True),
        ("biou", {"trimap": "void"}, False),
        ("miou", {"name": "another"}, False),
    ],
)
def test_conventions_that_move_what_val_chooses_by_move_the_training(
    metric: str, conventions: dict[str, Any], moves: bool
) -> None:
    best = JOB.model_copy(update={"selection": Selection(metric=metric)})
    last = JOB.model_copy(update={"selection": Selection(metric=metric, rule="last")})
    other = {"protocol": Protocol(**conventions)}
    assert (fingerprint(best.model_copy(update=other)) != fingerprint(best)) == moves
    assert fingerprint(last.model_copy(update=other)) == fingerprint(last)


def test_what_val_chose_by_one_protocol_is_scored_by_another_without_training_again() -> None:
    report = {"size": (64, 64), "level": "image"}
    together = JOB.model_copy(update={"protocol": Protocol(**report)})
    chosen = JOB.model_copy(update={"selection": Selection(metric="pa", protocol=report)})
    assert fingerprint(together) == fingerprint(chosen) != fingerprint(JOB)
    assert fingerprint(chosen.model_copy(update={"protocol": Protocol(void="mask")})) == fingerprint(chosen)


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
