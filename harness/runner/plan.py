"""What has to be done: the suite's jobs against what the database already holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.config.fingerprint import (
    cell_fingerprint,
    digest,
    score_fingerprint,
    train_fingerprint,
    train_parts,
    weights_parts,
)
from harness.config.recipe import Recipe
from harness.config.suite import DatasetChoice, Job, Search, Smoke, Suite, expand, merge, tuned
from harness.datasets import Dataset, DatasetInfo, Manifest, dataset_class, manifest_of, open_dataset, resolved
from harness.errors import BenchError, SuiteError
from harness.models.registry import ModelEntry, find_model
from harness.results.store import Planned, Store
from harness.runner.driver import Work
from harness.runner.sharing import share_prefixes
from harness.scoring.evaluate import check_metric
from harness.tasks.artifacts import Artifacts
from harness.tasks.records import Unit

# Told in a line of anything that takes time; told of (what, done, of how many).
Say = Callable[[str], None]
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """One network on one data set whose hyperparameters are searched."""

    key: str
    """By which what was found is kept: the space and everything else that decides."""
    unit: Unit
    """The job as the suite gives it, which each trial changes."""
    search: Search

    @property
    def title(self) -> str:
        """Which network on which data set."""
        return f"{self.unit.job.model.title} on {self.unit.job.dataset.name}"


@dataclass
class Plan:
    """A suite's jobs by what has to be done for them."""

    suite: Suite
    train: list[Work] = field(default_factory=list)
    rescore: list[Work] = field(default_factory=list)
    done: list[Planned] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What to tell about how the work is done."""
    studies: list[Study] = field(default_factory=list)
    """Searches that have to be done before their winners can be planned."""
    datasets: dict[str, tuple[DatasetInfo, str, Manifest]] = field(default_factory=dict)
    """Manifest hash -> facts, variant and manifest."""

    @property
    def work(self) -> list[Work]:
        """Everything that is not done, cheapest first."""
        return [*self.rescore, *self.train]

    @property
    def trained(self) -> list[Planned]:
        """Every job that has to be trained, the shorter ones inside longer ones among them."""
        return [part.planned for work in self.train for part in (work, *work.shares)]

    @property
    def planned(self) -> list[Planned]:
        """Every job."""
        return [*(w.planned for w in self.rescore), *self.trained, *self.done]


def make_plan(
    suite: Suite,
    store: Store | None,
    data_folder: Path,
    artifacts: Artifacts,
    plugins: Mapping[str, ModelEntry] | None = None,
    smoke: Smoke | None = None,
    say: Say = lambda line: None,
    tick: Tick | None = None,
    obtain: bool = True,
) -> Plan:
    """Resolve every job, check its data, and compare with the database.

    Args:
        suite: the suite.
        store: the database; None plans as if nothing was done.
        data_folder: where data sets are looked for.
        artifacts: where checkpoints and label maps go.
        plugins: networks from single files.
        smoke: cut every job down to a few steps.
        say: told of downloads and the like.
        tick: told of the data check's progress.
        obtain: whether data sets that are not there are downloaded or made.

    Raises:
        BenchError: a name does not exist, data are missing or unsound, or the suite asks for a metric that a
            data set lacks.
    """
    suite = suite.model_copy(update={"datasets": tuple(_resolved(choice, data_folder) for choice in suite.datasets)})
    entries = {m.name: find_model(m.name, dict(plugins or {})) for m in suite.models}
    copies = _open_copies(suite, data_folder, say, tick, obtain)
    infos = {d.name: dataset_class(d.name, d.params).info for d in suite.datasets}
    jobs = expand(suite, infos, smoke)
    _refuse_impossible(jobs, copies)
    plan = Plan(suite)
    cells = store.cells() if store else frozenset()
    planned: dict[str, Planned] = {}
    for job in jobs:
        dataset, manifest = copies[job.dataset.name, job.dataset.variant]
        plan.datasets[manifest.hash] = (dataset.info, dataset.variant, manifest)
        p = _planned(job, entries[job.model.name], dataset, manifest, cells)
        planned.setdefault(p.fingerprint, p)
    if suite.search is not None and smoke is None:
        for job in _tuned(suite, jobs, plan, store, entries, copies, artifacts):
            dataset, manifest = copies[job.dataset.name, job.dataset.variant]
            p = _planned(job, entries[job.model.name], dataset, manifest, cells)
            planned.setdefault(p.fingerprint, p)
    _sort_by_state(plan, planned, entries, copies, store, artifacts)
    plan.train, plan.notes = share_prefixes(plan.train)
    return plan


def _resolved(choice: DatasetChoice, folder: Path) -> DatasetChoice:
    name, params = resolved(choice.name, choice.params, folder)
    return choice.model_copy(update={"name": name, "params": params})


def _open_copies(
    suite: Suite, folder: Path, say: Say, tick: Tick | None, obtain: bool
) -> dict[tuple[str, str | None], tuple[Dataset, Manifest]]:
    copies: dict[tuple[str, str | None], tuple[Dataset, Manifest]] = {}
    for choice in suite.datasets:
        dataset = open_dataset(choice.name, choice.variant, folder, say, obtain, choice.params, tick)
        told = None if tick is None else partial(tick, f"Checking {dataset.info.title}")
        manifest = manifest_of(dataset, told)
        copies[choice.name, dataset.variant] = (dataset, manifest)
    return copies


def _refuse_impossible(jobs: list[Job], copies: Mapping[tuple[str, str | None], tuple[Dataset, Manifest]]) -> None:
    """Refuse what could only fail once training has begun."""
    for job in jobs:
        dataset, _ = copies[job.dataset.name, job.dataset.variant]
        check_metric(job.selection.metric, dataset.info)
        if job.recipe.loss.binary and len(dataset.info.classes) != 2:
            raise SuiteError(f"suite {job.suite}: the loss bce needs a binary data set, {dataset.info.name} is not")
        if job.model.label_map is not None and any(not 0 <= v < len(dataset.info.classes) for v in job.model.label_map):
            raise SuiteError(
                f"suite {job.suite}: the label map {list(job.model.label_map)} names a class that {dataset.info.name} "
                f"does not have: it has 0 to {len(dataset.info.classes) - 1}"
            )
        if min(job.recipe.batch_size, len(dataset.ids("train", job.images))) < job.resources.ranks:
            raise SuiteError(
                f"suite {job.suite}: {job.resources.ranks} processes cannot share batches of {job.recipe.batch_size}"
            )
        if not dataset.ids("train"):
            raise BenchError(f"{dataset.info.name} ({dataset.variant}) has no training image")
        if job.selection.rule == "best" and not dataset.ids(job.selection.split):
            raise SuiteError(
                f"suite {job.suite}: selection.split: {dataset.info.name} has no {job.selection.split} split",
                "Use selection: {rule: last}.",
            )


def _tuned(
    suite: Suite,
    jobs: Sequence[Job],
    plan: Plan,
    store: Store | None,
    entries: Mapping[str, ModelEntry],
    copies: Mapping[tuple[str, str | None], tuple[Dataset, Manifest]],
    artifacts: Artifacts,
) -> list[Job]:
    """The winners of the searches that are done; the others are noted in the plan."""
    search = suite.search
    assert search is not None  # noqa: S101 (the caller asked)
    winners = []
    bases = {(job.dataset.name, job.dataset.variant, job.model.title): job for job in reversed(jobs)}
    for base in reversed(list(bases.values())):
        job = base.model_copy(update={"seed": search.seed, "grid": {}})
        job = job.model_copy(update={"recipe": Recipe.model_validate(merge(suite.recipe, base.model.recipe))})
        if job.selection.rule != "best" or job.selection.split != "val":
            raise SuiteError(
                f"suite {suite.name}: search: needs selection {{rule: best, split: val}}: test is only scored"
            )
        if not job.recipe.epochs:
            raise SuiteError(f"suite {suite.name}: search: needs a recipe whose length is in epochs")
        dataset, manifest = copies[job.dataset.name, job.dataset.variant]
        if dataset.val_is_test:
            raise SuiteError(
                f"suite {suite.name}: search: {dataset.info.name} ({dataset.variant}) has no val of its own: "
                "the search would see the scored images"
            )
        entry = entries[job.model.name]
        keys = [
            digest({"search": search.model_dump(mode="json"), "job": _parts(job, source, manifest)})[:40]
            for source in (entry.source_hash, *entry.former_hashes)
        ]
        key = keys[0]
        found = next(filter(None, map(store.found, keys)), None) if store else None
        if found is not None:
            winners += [tuned(job, found, seed) for seed in suite.seeds]
            continue
        folder = artifacts.of(f"search-{key[:16]}").location
        unit = Unit(job, entry, key, str(dataset.root), folder, content=manifest.content_hash)
        plan.studies.append(Study(key, unit, search))
    return winners


def _parts(job: Job, source: str, manifest: Manifest) -> dict[str, Any]:
    return train_parts(job, source, manifest.hash, weights_parts(job))


def _planned(job: Job, entry: ModelEntry, dataset: Dataset, manifest: Manifest, cells: Set[str]) -> Planned:
    parts = _parts(job, entry.source_hash, manifest)
    # A cell that the database knows by an earlier hash of the same code goes on under it, with all its seeds.
    for source in entry.former_hashes:
        former = _parts(job, source, manifest)
        if cell_fingerprint(former) in cells and cell_fingerprint(parts) not in cells:
            parts = former
    fingerprint = train_fingerprint(parts)
    chosen_on = job.selection.split
    return Planned(
        job=job,
        parts=parts,
        fingerprint=fingerprint,
        cell=cell_fingerprint(parts),
        score_fingerprint=score_fingerprint(fingerprint, job),
        manifest=manifest.hash,
        origin=entry.origin,
        source=entry.source,
        selected_on_test=job.selection.rule == "best"
        and (chosen_on == "test" or (chosen_on == "val" and dataset.val_is_test)),
    )


def _sort_by_state(
    plan: Plan,
    planned: Mapping[str, Planned],
    entries: Mapping[str, ModelEntry],
    copies: Mapping[tuple[str, str | None], tuple[Dataset, Manifest]],
    store: Store | None,
    artifacts: Artifacts,
) -> None:
    states = store.states(list(planned)) if store else {}
    scored = store.scored([p.score_fingerprint for p in planned.values()]) if store else set()
    for p in planned.values():
        dataset, manifest = copies[p.job.dataset.name, p.job.dataset.variant]
        trained = states.get(p.fingerprint) == "ok"
        unit = Unit(
            job=p.job,
            model=entries[p.job.model.name],
            fingerprint=p.fingerprint,
            data_root=str(dataset.root),
            # A smoke run looks at a few images: nothing is gained by decoding all of them.
            content="" if p.job.images is not None else manifest.content_hash,
            folder=artifacts.run(p.fingerprint).location,
            rescore=trained,
        )
        if not trained:
            plan.train.append(Work(p, unit))
        elif p.score_fingerprint not in scored:
            plan.rescore.append(Work(p, unit))
        else:
            plan.done.append(p)
