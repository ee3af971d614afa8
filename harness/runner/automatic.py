"""What a suite leaves to the machine: `precision: auto`, `channels_last: auto` and `cpus: auto` become values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.config.job import AUTO_CPUS, Job
from harness.runner.devices import imitates_bf16
from harness.runner.machine import PLAIN, Format, Machine, fastest, fewest_seconds

# Whether the database knows the job's cell.
Known = Callable[[Job], bool]


class Automatic:
    """Gives jobs the values that are fast and safe on this machine.

    A cell that the database already has keeps its values, so that an interrupted suite continues, on another machine
    too, and all seeds of a cell are trained alike.

    Args:
        machine: what is measured.
        known: whether the database knows a job's cell.
    """

    def __init__(self, machine: Machine, known: Known) -> None:
        self._machine, self._known = machine, known
        self.notes: list[str] = []
        """What was chosen, and why, for people."""

    def resolve(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs with nothing left to the machine.

        Raises:
            BenchError: it had to be measured, and could not be.
        """
        resolved: dict[tuple[int, ...], Job] = {}
        found = []
        for job in jobs:
            if is_open(job):
                # Seeds of a cell share these objects, and go on sharing what they become.
                cell = (id(job.dataset), id(job.model), id(job.recipe), id(job.resources))
                if cell not in resolved:
                    resolved[cell] = self._resolved(job, len(jobs))
                job = resolved[cell].model_copy(update={"seed": job.seed})
            found.append(job)
        return found

    def _resolved(self, job: Job, jobs: int) -> Job:
        if job.smoke:
            return next(self._alternatives(job))  # two steps: nothing to gain
        known = [one for one in self._alternatives(job) if self._known(one)]
        if len(known) == 1:
            return known[0]
        measured = self._by_measurement(job, jobs)
        return measured if not known or measured in known else known[0]

    def _by_measurement(self, job: Job, jobs: int) -> Job:
        recipe = job.recipe
        if not has_open_format(job):
            chosen = Format(recipe.precision, bool(recipe.channels_last))
        else:
            timings = self._machine.formats(job.resources.gpus > 0)
            chosen = fastest(timings, recipe.precision, recipe.channels_last)
            taken = {one.format: one.seconds for one in timings}
            if chosen == PLAIN:
                told = "as plain fp32 is about as fast"
            elif chosen in taken:
                told = f"a step takes {taken[chosen] / taken[PLAIN]:.0%} of fp32's time"
            else:
                told = "not measured: this machine imitates it"
            self._tell(f"precision and memory format, by measurement: {chosen} ({told})")
        threads = job.resources.cpus
        if threads == AUTO_CPUS:
            rates = self._machine.rates(chosen if job.resources.gpus == 0 else PLAIN)
            threads = fewest_seconds(rates, jobs, self._machine.cores)
            side = max(1, self._machine.cores // threads)
            seen = (
                f"{self._machine.cores // t} × {t}: {self._machine.cores // t * rate:.3g}" for t, rate in rates.items()
            )
            self._tell(
                f"processors, by measurement: {side} job{'s' * (side > 1)} at a time with {threads} "
                f"thread{'s' * (threads > 1)} each (images a second by jobs × threads: {', '.join(seen)})"
            )
        return with_values(job, chosen, threads)

    def _tell(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _alternatives(self, job: Job) -> Iterator[Job]:
        """Every job that this one may become."""
        recipe = job.recipe
        precisions = ("fp32", "bf16", "fp16") if recipe.precision == "auto" else (recipe.precision,)
        layouts = (False, True) if recipe.channels_last == "auto" else (recipe.channels_last,)
        most = range(1, self._machine.cores + 1)
        threads = most if job.resources.cpus == AUTO_CPUS else (job.resources.cpus,)
        for precision, layout, count in itertools.product(precisions, layouts, threads):
            yield with_values(job, Format(precision, bool(layout)), count)


def imitated(jobs: Iterable[Job]) -> list[str]:
    """A note on jobs that would train on this processor in a precision which it only imitates."""
    named = sorted({job.recipe.precision for job in jobs if not job.resources.gpus} - {"fp32", "auto"})
    if not named or not imitates_bf16():
        return []
    return [
        f"This processor has no instructions for {' and '.join(named)}: training and prediction are tens to hundreds "
        "of times slower than in fp32. Consider --set recipe.precision=fp32, or a GPU."
    ]


def has_open_format(job: Job) -> bool:
    """Whether the precision or the memory format is left to the machine."""
    return "auto" in (job.recipe.precision, job.recipe.channels_last)


def is_open(job: Job) -> bool:
    """Whether anything is left to the machine."""
    return has_open_format(job) or job.resources.cpus == AUTO_CPUS


def with_values(job: Job, chosen: Format, threads: int) -> Job:
    """The job with a format and a number of threads; the board shows what of the format the suite had left open."""
    recipe = job.recipe
    shown: dict[str, str | bool] = {}
    if recipe.precision == "auto":
        shown["precision"] = chosen.precision
    if recipe.channels_last == "auto":
        shown["channels_last"] = chosen.channels_last
    if shown:
        recipe = recipe.model_copy(update={"precision": chosen.precision, "channels_last": chosen.channels_last})
    resources = job.resources
    if resources.cpus != threads:
        resources = resources.model_copy(update={"cpus": threads})
    return job.model_copy(update={"recipe": recipe, "resources": resources, "grid": {**job.grid, **shown}})
