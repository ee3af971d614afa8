"""Networks carried over from one data set to another: trainings that start from the weights of other runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from harness.config.expand import Smoke
from harness.config.job import ModelChoice
from harness.config.load import load_suite
from harness.errors import SuiteError
from harness.models import build
from harness.results import open_existing
from harness.results.withdrawals import withdraw
from harness.runner.plan import Plan, make_plan
from harness.tasks.artifacts import Artifacts
from harness.training.network import read_weights
from tests.conftest import rows, run_bench
from tests.harness.test_folder import BASIC, make

# Six classes and two, in both directions. The networks that are carried over learn nothing more, to be recognized.
SUITE = """
datasets: [shapes, {name: folder, params: {path: kidneys}}]
models:
  - {name: unet, params: {width: 4, depth: 2}, label: U-Net}
  - name: unet
    params: {width: 4, depth: 2}
    label: U-Net, carried over
    start_from_run: {model: U-Net, trained_on: {shapes: kidney, kidney: shapes}}
    recipe: {optimizer: {lr: 1e-30, weight_decay: 0}}
recipe: {size: [16, 16], epochs: 1, batch_size: 8, optimizer: {name: adamw, lr: 1e-2}}
resources: {cpus: 1}
"""


def planned(home: Path, *overrides: str, smoke: Smoke | None = None) -> Plan:
    store = open_existing(str(home / "results.db"))
    place = store.artifacts if store else Artifacts(str(home / "artifacts"))
    return make_plan(load_suite("both.yaml", overrides), store, home / "data", place, smoke=smoke)


@pytest.fixture
def both(home: Path) -> Path:
    make(home / "kidneys", BASIC)
    (home / "both.yaml").write_text(SUITE)
    return home


@pytest.mark.slow
def test_networks_are_carried_over_in_both_directions(both: Path) -> None:
    command = ("run", "--suite", "both.yaml", "--local")
    told = run_bench(*command, cwd=both, check=False)
    assert told.returncode != 0
    said = " ".join(told.stderr.split())
    assert "no run that ended well of U-Net of both, trained on kidney, seed 0" in said
    assert 'bench run --suite both --models "U-Net" --datasets kidney --seeds 0' in said
    run_bench(*command, "--models", "U-Net", cwd=both)
    assert "2 to train, 0 to rescore, 2 done" in run_bench(*command, cwd=both).stdout
    query = "select d.name, r.model, r.fingerprint, r.parts, r.provenance from runs r join datasets d using (manifest)"
    found = {(data, model): tuple(rest) for data, model, *rest in rows(both, query)}
    assert len(found) == 4
    for data, source, title in (("shapes", "kidney", "kidney"), ("kidney", "shapes", "Shapes (generated)")):
        (before, *_), (after, parts, provenance) = found[source, "U-Net"], found[data, "U-Net, carried over"]
        (file,) = both.glob(f"results.artifacts/{before[:16]}/checkpoints/best.pt")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert json.loads(parts)["start_from"] == {"sha256": digest}
        assert json.loads(provenance)["pretrained_on"] == [title]
        (own,) = both.glob(f"results.artifacts/{after[:16]}/checkpoints/best.pt")
        theirs, ours = read_weights(file), read_weights(own)
        counted = ("running_mean", "running_var", "num_batches_tracked")
        other = {n for n, value in ours.items() if value.shape != theirs[n].shape}
        assert other == {"head.weight", "head.bias"}, "the classifier, for another number of classes"
        kept = [n for n in ours if n not in other and not n.endswith(counted)]
        assert len(kept) > 20
        assert all(torch.equal(ours[n], theirs[n]) for n in kept)
    assert "all 4 jobs of suite both are trained and scored" in run_bench(*command, cwd=both).stdout

    # What is withdrawn is not carried on, and weights that are gone are said to be.
    file.unlink()
    with pytest.raises(SuiteError, match="is there, but its weights are not"):
        planned(both)
    store = open_existing(str(both / "results.db"))
    assert store is not None
    (number,) = rows(both, f"select id from runs where fingerprint = '{found['kidney', 'U-Net'][0]}'")[0]
    withdraw(store, [number], "a mistake")
    with pytest.raises(SuiteError, match="no run that ended well of U-Net of both, trained on kidney"):
        planned(both)


def test_a_smoke_run_needs_no_other_run(both: Path) -> None:
    plan = planned(both, smoke=Smoke())
    assert len(plan.train) == 4
    assert {task.job.model.start_from for task in plan.train} == {None}


def test_a_data_set_without_a_source_is_refused(both: Path) -> None:
    (both / "both.yaml").write_text(SUITE.replace("{shapes: kidney, kidney: shapes}", "{kidney: shapes}"))
    with pytest.raises(SuiteError, match="U-Net, carried over: start_from_run: trained_on has no data set for shapes"):
        planned(both)


@pytest.mark.parametrize("name", ["transfer", "transfer-small"])
def test_study_d_s_wish_differs_from_its_sources_in_the_start_alone(name: str) -> None:
    suite = load_suite(name)
    assert [d.name for d in suite.datasets] == ["voc", "horse"]
    rows = {model.title: model for model in suite.models}
    carried = [model for model in suite.models if model.start_from_run]
    assert len(carried) == 2
    for model in carried:
        source = model.start_from_run
        assert source is not None
        assert source.trained_on == {"horse": "voc", "voc": "horse"}
        before = rows[source.model]
        assert model.recipe == before.recipe
        assert model.params == {k: v for k, v in before.params.items() if k != "pretrained"}
        # All but one layer fits, for the two classes and for the 21.
        with torch.device("meta"):
            two, many = (build(model.name, n, **model.params).state_dict() for n in (2, 21))
        other = {k.rpartition(".")[0] for k in two if two[k].shape != many[k].shape}
        assert len(other) == 1


def test_weights_come_from_one_place() -> None:
    run = {"model": "U-Net", "trained_on": {"a": "b"}}
    for other in ("start_from", "checkpoint"):
        with pytest.raises(ValidationError, match="leave start_from and checkpoint out"):
            ModelChoice.model_validate({"name": "unet", "start_from_run": run, other: "weights.pt"})
