"""Which jobs share one training: those that differ in nothing but their number of epochs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from harness.config.fingerprint import digest
from harness.runner.driver import Work


def share_prefixes(works: Sequence[Work]) -> tuple[list[Work], list[str]]:
    """Put shorter jobs under the longest one of their kind.

    Args:
        works: what has to be trained.

    Returns:
        The works, shorter ones inside longer ones, in the order of the first of each group; and what to tell about it.
    """
    groups: dict[str, list[Work]] = defaultdict(list)
    for number, work in enumerate(works):
        groups[_kind(work) or str(number)].append(work)
    shared, saved, whole, refused = [], 0, 0, 0
    reasons: set[str] = set()
    for group in groups.values():
        *shorter, longest = sorted(group, key=lambda work: work.unit.job.recipe.epochs or 0)
        schedule = longest.unit.job.recipe.schedule
        if shorter and schedule.depends_on_length:
            refused += len(group)
            reasons.add(schedule.name)
            shared += group
            continue
        shared.append(replace(longest, shares=tuple(shorter)))
        if shorter:
            whole += sum(work.unit.job.recipe.epochs or 0 for work in group)
            saved += sum(work.unit.job.recipe.epochs or 0 for work in shorter)
    notes = []
    if saved:
        notes.append(f"Shared beginnings: {whole - saved} epochs of training instead of {whole}.")
    if refused:
        notes.append(
            f"{refused} jobs that differ only in epochs are trained one by one: under the schedule "
            f"{' and '.join(sorted(reasons))} the learning rate depends on the length."
        )
    return shared, notes


def _kind(work: Work) -> str | None:
    """What jobs that could share a training have in common; None where the length is not in epochs."""
    if work.unit.rescore or work.unit.job.model.checkpoint or work.unit.job.recipe.epochs is None:
        return None
    parts = work.planned.parts
    recipe = {key: value for key, value in parts["recipe"].items() if key != "epochs"}
    return digest({**parts, "recipe": recipe})
