"""What `bench run --dry-run` prints: the jobs, and what they would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.console import duration, table

if TYPE_CHECKING:
    from harness.runner import Plan
    from harness.runner.cost import Cost


def print_plan(plan: Plan, console: Any, timed: bool) -> None:
    """What would be done."""
    from harness.config.grid import grid_text

    inside = {shorter.fingerprint for task in plan.train for shorter in task.shorter}
    states = [(task, "rescore") for task in plan.rescore]
    states += [(task, "shared" if task.fingerprint in inside else "train") for task in plan.to_train]
    rows = []
    for task, state in [*states, *((task, "done") for task in plan.done)]:
        job = task.job
        length = f"{job.recipe.epochs} epochs" if job.recipe.epochs else f"{job.recipe.iterations} iterations"
        variant, title = job.dataset.variant, job.model.title
        rows.append(
            (state, job.dataset.name, variant, title, grid_text(job.grid), job.seed, length, task.fingerprint[:10])
        )
    columns = ("", "data set", "variant", "model", "grid", "seed", "length", "fingerprint")
    console.print(table(columns, rows, title=f"Suite {plan.suite.name}: {len(rows)} jobs"))
    for note in plan.notes:
        console.print(note, markup=False)
    for wanted in plan.searches:
        job = wanted.task.job
        console.print(
            f"search   {wanted.title}: {wanted.search.trials} trials of at most {job.recipe.epochs} epochs over "
            f"{', '.join(wanted.search.space)}; the winner is then trained with each seed",
            markup=False,
        )
    print_ceilings(plan, console)
    if plan.train:
        print_cost(plan, console, timed)
    console.print(
        f"{len(plan.to_train)} to train, {len(plan.rescore)} to rescore, {len(plan.done)} done. Nothing was run."
    )


def print_ceilings(plan: Plan, console: Any) -> None:
    """What networks would score that are perfect at their input size."""
    from harness.metrics.metric import metric_title
    from harness.runner.ceilings import planned_ceilings

    found = planned_ceilings(plan)
    if not found:
        return
    rows = [(one.dataset, one.input, one.protocol, one.metric, _share(one.headline), _share(one.biou)) for one in found]
    columns = ("data set", "input", "protocol", "metric", "ceiling", metric_title("biou"))
    console.print(table(columns, rows, title="Ceilings", right=2))
    console.print(
        "A ceiling is what a network would score that is perfect at its input size: what is missing to 1 is what "
        "resolution alone costs."
    )
    if any(one.later for one in found):
        console.print("–: of many pixels; the run computes it, once, when it scores.")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def print_cost(plan: Plan, console: Any, timed: bool) -> None:
    """Trainings, epochs, images and hours of each network."""
    from bench.progress import CountBar
    from harness.runner.cost import estimate, here

    costs = estimate(plan, timed, CountBar())
    rows = []
    for cost in costs:
        row = [cost.dataset, cost.model, cost.trainings, cost.epochs, f"{cost.images:,}", f"{cost.predicted:,}"]
        if timed:
            row += ["–" if cost.seconds_per_image is None else f"{cost.seconds_per_image:.3g} s"]
            row += ["not timed" if cost.seconds is None else duration(cost.seconds)]
            row += ["–" if cost.memory is None else f"{cost.memory / 1e9:.1f} GB"]
        rows.append(row)
    columns = ["data set", "model", "trainings", "epochs", "training images", "predictions"]
    columns += ["an image", "one slot", "peak memory"] if timed else []
    console.print(table(columns, rows, title="Cost", right=len(columns) - 2))
    for cost in costs:
        if cost.problem:
            console.print(f"{cost.model}: a step could not be timed: {cost.problem}", markup=False)
    if timed:
        print_memory(costs, console)
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    if not known:
        return
    asked, used = plan.train[0].job.resources, here(plan.train[0].job).resources
    where = f"{used.gpus:g} GPU" if used.gpus else f"{used.cpus} CPU thread" + ("s" if used.cpus > 1 else "")
    console.print(f"About {duration(sum(known))} of one slot, from one step of each network timed on {where}.")
    if asked.gpus and not used.gpus:
        console.print("The suite asks for a GPU, and this machine has none. On a GPU it takes a fraction of that time.")


def print_memory(costs: list[Cost], console: Any) -> None:
    """Where the figures of memory come from, and which networks need more than the suite's GPUs have."""
    if any(cost.memory for cost in costs):
        way = "measured here" if all(cost.measured for cost in costs) else "an estimate: tensors alone"
        console.print(f"Peak memory is that of one GPU, {way}; CUDA itself takes about 1 GB more.")
    for cost in costs:
        limit = cost.memory_limit
        if limit is not None and cost.memory is not None and cost.memory > limit * 1e9:
            console.print(
                f"warning: {cost.model} needs about {cost.memory / 1e9:.1f} GB, the suite is meant for GPUs of "
                f"{limit:g} GB. Compute its batches in more parts (recipe.accumulate), or on fewer images.",
                markup=False,
            )
