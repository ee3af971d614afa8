"""`bench run`: train and score every job of a suite that is not done yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.console import DataOption, DbOption, new_console, table

if TYPE_CHECKING:
    from harness.config.suite import Suite
    from harness.models.registry import ModelEntry
    from harness.results import Store
    from harness.runner import Driver, Outcome, Plan
    from harness.runner.plan import Say
    from harness.tasks.artifacts import Artifacts

LOCAL_HELP = "Run one job after another, without Ray."


@dataclass
class Options:
    """How a suite is to be run."""

    suite: str
    data_dir: Path | None = None
    db: str | None = None
    local: bool = False
    in_process: bool = False
    dry_run: bool = False
    timing: bool = True
    smoke: bool = False
    overrides: Sequence[str] = ()
    models: str | None = None
    datasets: str | None = None
    seeds: str | None = None
    plugins: Sequence[Path] = ()
    artifacts: str | None = None
    address: str | None = None
    cpus: int | None = None
    checkpoint: Path | None = None
    label_map: str | None = None
    only: Sequence[dict[str, Any]] | None = None
    """Replaces the suite's models; used by `bench submit`."""
    extra: dict[str, ModelEntry] = field(default_factory=dict)


def run(
    suite: Annotated[str, typer.Option("--suite", "-s", metavar="NAME|FILE", help="Which suite, e.g. demo.")],
    data_dir: DataOption = None,
    db: DbOption = None,
    local: Annotated[bool, typer.Option("--local", help=LOCAL_HELP)] = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="With --local: in this very process, for a debugger.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it would cost; train nothing.")
    ] = False,
    timing: Annotated[
        bool, typer.Option("--timing/--no-timing", help="With --dry-run: time one step of every network.")
    ] = True,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="A few steps of every job, ranked apart; shows that all parts work."),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a field, e.g. recipe.epochs=5 or lr=1e-3."),
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these models; others than the suite's join it.")
    ] = None,
    datasets: Annotated[str | None, typer.Option(metavar="A,B", help="Only these data sets.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1|0-4", help="These seeds.")] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A model file the suite may name.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score these weights of one model; train nothing.")
    ] = None,
    label_map: Annotated[
        str | None,
        typer.Option(metavar="0,0,1,…", help="With --checkpoint: the data set's class for each of the model's."),
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL", help="Where checkpoints and label maps go.", show_default="beside the database"
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDR|auto", help="An existing Ray cluster.", show_default="this machine"),
    ] = None,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="Processors Ray may use on this machine.", show_default="all")
    ] = None,
) -> None:
    """Train and score every job of a suite that is not done yet.

    Example: bench run --suite demo
    """
    options = Options(
        suite=suite,
        data_dir=data_dir,
        db=db,
        local=local or in_process,
        in_process=in_process,
        dry_run=dry_run,
        timing=timing,
        smoke=smoke,
        overrides=overrides or (),
        models=models,
        datasets=datasets,
        seeds=seeds,
        plugins=plugin or (),
        checkpoint=checkpoint,
        label_map=label_map,
        artifacts=artifacts,
        address=address,
        cpus=cpus,
    )
    code = run_suite(options)
    if code:
        raise typer.Exit(code)


def run_suite(options: Options) -> int:
    """Run a suite and print its board; returns the exit code: 0, 1 (jobs failed) or 130 (stopped)."""
    from bench.plan import print_plan
    from bench.progress import CountBar
    from harness.config.suite import Smoke, load_suite
    from harness.datasets import data_dir
    from harness.models.registry import read_plugin
    from harness.results import open_existing, open_store
    from harness.runner import make_plan

    console = new_console()
    plugins = {e.name: e for e in map(read_plugin, options.plugins)} | options.extra
    suite = narrow(load_suite(options.suite, options.overrides), options, plugins)
    folder = data_dir(options.data_dir)
    store = open_existing(options.db)
    try:
        place = artifacts_of(store, options)
        if store and not options.dry_run:
            store.release_stale()

        def planned(obtain: bool) -> Plan:
            return make_plan(
                suite,
                store,
                folder,
                place,
                plugins,
                Smoke() if options.smoke else None,
                say=console.print,
                tick=CountBar(),
                obtain=obtain,
            )

        plan = planned(not options.dry_run)
        if options.dry_run:
            print_plan(plan, console, options.timing)
            return 0
        if plan.work:
            check_resources(plan, options)
            place.check()
        # Made only now: a mistake that ends the command leaves no empty database behind.
        store = store or open_store(options.db)
        if options.artifacts:
            store.keep_artifacts_at(place)
        if plan.studies:
            if not search(plan, store, options):
                console.print("Stopped. The same command searches again what was not found yet.")
                return 130
            plan = planned(False)
        store.register(plan.planned, plan.datasets)
        warn_of_network(store)
        if plan.work:
            return report(plan, store, execute(plan, store, options))
        console.print(
            f"Nothing to do: all {len(plan.done)} jobs of suite {suite.name} are trained and scored in {store.name}."
        )
        return report(plan, store, None)
    finally:
        if store:
            store.close()


def artifacts_of(store: Store | None, options: Options) -> Artifacts:
    """Where checkpoints and label maps go: as asked for, as the database remembers, or beside it.

    Raises:
        ArtifactsError: the database has label maps in another place.
    """
    from harness.errors import ArtifactsError
    from harness.results import beside
    from harness.tasks.artifacts import Artifacts

    given = Artifacts.named(options.artifacts) if options.artifacts else None
    if store is None:
        return given or beside(Path(options.db or "results.db"))
    known = store.artifacts
    if given is None or given.location == known.location:
        return known
    if store.kept():
        raise ArtifactsError(
            f"{store.name}: its label maps are at {known.location}",
            f"Leave --artifacts out; or copy them, then `bench db artifacts {options.artifacts}`.",
        )
    return given


def search(plan: Plan, store: Store, options: Options) -> bool:
    """Search what the plan needs found; returns whether it was not stopped.

    Raises:
        SuiteError: Ray was left out.
    """
    from harness.errors import SuiteError

    if options.local:
        raise SuiteError("a search needs Ray", "Leave --local out, or --set search=null.")
    from functools import partial

    from harness.runner.ray_search import SearchStopped, run_studies

    prepare_caches(plan)
    try:
        run_studies(
            plan.studies,
            lambda study, found: store.keep_found(study.key, found),
            partial(print, flush=True),
            options.address,
            options.cpus,
        )
    except SearchStopped:
        return False
    return True


def execute(plan: Plan, store: Store, options: Options) -> Outcome:
    """Run what the plan says is left."""
    from bench.progress import Display
    from harness.runner import Driver

    print(
        f"Suite {plan.suite.name}: {len(plan.trained)} to train, {len(plan.rescore)} to rescore, "
        f"{len(plan.done)} done already. Results go to {store.name}",
        flush=True,
    )
    for note in plan.notes:
        print(note, flush=True)
    if not options.address:
        prepare_caches(plan)
    with Display(len(plan.trained) + len(plan.rescore), len(plan.done)) as display:
        driver = Driver(store, plan.work, display)
        _dispatch(driver, plan, options, display.note)
    return driver.outcome


def warn_of_network(store: Store) -> None:
    """Say it where the database is on a file system whose locks SQLite cannot trust."""
    from harness.results import network_file_system

    kind = network_file_system(store.path) if store.path else None
    if kind:
        print(
            f"warning: {store.path} is on a network file system ({kind}), where SQLite can be damaged by two writers. "
            "Keep it on a local disk, or use PostgreSQL: --db postgresql+psycopg://…",
            flush=True,
        )


def prepare_caches(plan: Plan) -> None:
    """Decode the data once, with a progress bar, before jobs start that would otherwise wait for one another."""
    import os
    from functools import partial

    from bench.progress import CountBar
    from harness.datasets.cache import NoCache, decoded_store

    units = {work.unit.content: work.unit for work in plan.train if work.unit.content}
    for content, unit in units.items():
        dataset = unit.reader
        try:
            decoded_store(dataset, content, os.cpu_count() or 1, partial(CountBar(), f"Decoding {dataset.info.title}"))
        except NoCache as reason:
            print(f"Every job decodes {dataset.info.title} for itself: {reason}", flush=True)


def _dispatch(driver: Driver, plan: Plan, options: Options, say: Say) -> None:
    if options.local or not plan.train:
        from harness.runner.local import run_local

        run_local(driver, options.in_process)
    else:
        from harness.runner.ray_tune import run_tune

        run_tune(driver, options.address, options.cpus, say)


def report(plan: Plan, store: Store, outcome: Outcome | None) -> int:
    """Print the suite's boards and what failed; returns the exit code."""
    from leaderboard.queries import load_results
    from leaderboard.tables import boards, overview

    console = new_console()
    protocols = {p.job.protocol_hash for p in plan.planned}
    results = [r for r in load_results(store, suite=plan.suite.name) if r.protocol_hash in protocols]
    for board in boards(results):
        shown = overview(board)
        console.print()
        console.print(table(shown.columns, shown.text_rows(), title=shown.title, right=len(shown.metrics) + 1))
        for note in shown.notes:
            console.print(note)
    if outcome is None:
        return 0
    if outcome.failures:
        rows = [(w.planned.job.title, r.state, r.reason or r.error) for w, r in outcome.failures]
        console.print(table(("job", "state", "reason"), rows, title=f"{len(rows)} failed"))
        console.print("`bench status --failed` shows them again, with their tracebacks.")
    if outcome.elsewhere:
        console.print(f"{outcome.elsewhere} jobs are being run by another command on the same database.")
    if outcome.interrupted:
        console.print("Stopped. The same command continues from the last checkpoints.")
        return 130
    return 1 if outcome.failures else 0


def narrow(suite: Suite, options: Options, plugins: Mapping[str, ModelEntry]) -> Suite:
    """Apply --models, --datasets and --seeds.

    Raises:
        UnknownName: a name is neither in the suite nor known otherwise.
        SuiteError: the seeds cannot be read.
    """
    from harness.config.suite import DatasetChoice, ModelChoice
    from harness.errors import UnknownName
    from harness.models.registry import known_models

    changes: dict[str, Any] = {}
    if options.only is not None:
        changes["models"] = tuple(ModelChoice.model_validate(m) for m in options.only)
    if options.models:
        chosen: list[ModelChoice] = []
        for name in _names(options.models):
            own = [m for m in suite.models if name in (m.name, m.label, m.title)]
            known = {**known_models(), **plugins}
            if not own and name not in known:
                labels = [m.title for m in suite.models]
                raise UnknownName.of("model", name, [*known, *labels], "bench models")
            chosen += own or [ModelChoice(name=name)]
        changes["models"] = tuple(chosen)
    if options.datasets:
        picked: list[DatasetChoice] = []
        for name in _names(options.datasets):
            picked += [d for d in suite.datasets if d.name == name] or [DatasetChoice(name=name)]
        changes["datasets"] = tuple(picked)
    if options.seeds:
        changes["seeds"] = parse_seeds(options.seeds)
    return with_checkpoint(suite.model_copy(update=changes), options)


def with_checkpoint(suite: Suite, options: Options) -> Suite:
    """Apply --checkpoint and --label-map: one model, one seed, no grid.

    Raises:
        SuiteError: there are several models, no such file, or no whole numbers.
    """
    from harness.errors import SuiteError

    if options.checkpoint is None:
        if options.label_map is not None:
            raise SuiteError("--label-map needs --checkpoint FILE")
        return suite
    if len(suite.models) != 1:
        names = ", ".join(m.title for m in suite.models)
        raise SuiteError(f"--checkpoint needs one model; choose it with --models: {names}")
    if not options.checkpoint.is_file():
        raise SuiteError(f"--checkpoint {options.checkpoint}: there is no such file")
    table = None
    if options.label_map is not None:
        try:
            table = tuple(int(part) for part in _names(options.label_map))
        except ValueError as error:
            raise SuiteError(f"--label-map {options.label_map}: write it as whole numbers, e.g. 0,0,1") from error
    # Weights pretrained on ImageNet would only be overwritten.
    (model,) = suite.models
    params = {key: value for key, value in model.params.items() if key != "pretrained"}
    own = model.model_copy(
        update={"checkpoint": str(options.checkpoint.resolve()), "label_map": table, "params": params}
    )
    return suite.model_copy(update={"models": (own,), "seeds": suite.seeds[:1], "grid": {}})


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,5` or `0-4`, or both.

    Raises:
        SuiteError: it is neither.
    """
    from harness.errors import SuiteError

    seeds: list[int] = []
    for part in _names(text):
        first, dash, last = part.partition("-")
        try:
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
        except ValueError as error:
            raise SuiteError(f"--seeds {text}: write them as 0,1,2 or 0-4") from error
    if not seeds:
        raise SuiteError(f"--seeds {text}: names no seed")
    return tuple(dict.fromkeys(seeds))


def check_resources(plan: Plan, options: Options) -> None:
    """Refuse jobs that this machine could never start; a cluster is asked by Ray itself.

    Raises:
        SuiteError: says what is asked for, what is there, and how to ask for less.
    """
    import os

    from harness.errors import SuiteError

    wanted = [w.unit.job.resources for w in plan.train]
    if options.local and any(r.nodes > 1 for r in wanted):
        raise SuiteError(
            f"suite {plan.suite.name}: a job asks for several machines, which takes Ray",
            "Leave --local out, or --set resources.nodes=1.",
        )
    if options.address:
        return
    gpus = max((r.gpus * r.nodes for r in wanted), default=0)
    cpus = max((r.cpus * r.ranks for r in wanted), default=0)
    have = options.cpus or os.cpu_count() or 1
    if gpus:
        from harness.runner.devices import gpu_count

        if gpu_count() < gpus:
            raise SuiteError(
                f"suite {plan.suite.name}: a job asks for {gpus:g} GPU(s), this machine has {gpu_count()}",
                "Train on the CPU with --set resources.gpus=0, try every part with --smoke, or name a Ray cluster "
                "with --address.",
            )
    if cpus > have and not options.local:
        raise SuiteError(
            f"suite {plan.suite.name}: a job asks for {cpus} processors, {have} are there",
            f"Ask for fewer with --set resources.cpus={have}.",
        )


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
