"""Which jobs share one training: those that differ in nothing but their number of epochs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from harness.config.fingerprint import digest
from harness.tasks.task import Task


def share_trainings(tasks: Sequence[Task]) -> tuple[list[Task], list[str]]:
    """Put shorter jobs under the longest one of their kind.

    Args:
        tasks: what has to be trained.

    Returns:
        The tasks, shorter ones inside longer ones, in the order of the first of each group; and what to tell about it.
    """
    groups: dict[str, list[Task]] = defaultdict(list)
    for number, task in enumerate(tasks):
        groups[_kind(task) or str(number)].append(task)
    shared, saved, whole, refused = [], 0, 0, 0
    reasons: set[str] = set()
    for group in groups.values():
        *shorter, longest = sorted(group, key=lambda task: task.job.recipe.epochs or 0)
        schedule = longest.job.recipe.schedule
        if shorter and schedule.depends_on_length:
            refused += len(group)
            reasons.add(schedule.name)
            shared += group
            continue
        shared.append(replace(longest, shorter=tuple(shorter)))
        if shorter:
            whole += sum(task.job.recipe.epochs or 0 for task in group)
            saved += sum(task.job.recipe.epochs or 0 for task in shorter)
    notes = []
    if saved:
        notes.append(f"Shared trainings: {whole - saved} epochs instead of {whole}.")
    if refused:
        notes.append(
            f"{refused} jobs that differ only in epochs are trained one by one: under the schedule "
            f"{' and '.join(sorted(reasons))} the learning rate depends on the length."
        )
    return shared, notes


def _kind(task: Task) -> str | None:
    """What jobs that could share a training have in common; None where the length is not in epochs."""
    if task.kind == "rescore" or task.job.model.checkpoint or task.job.recipe.epochs is None:
        return None
    recipe = {key: value for key, value in task.parts["recipe"].items() if key != "epochs"}
    return digest({**task.parts, "recipe": recipe})
