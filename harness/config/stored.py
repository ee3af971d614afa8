"""Jobs as databases keep them, also where an earlier version wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.job import Job
from harness.losses import LOSSES
from harness.metrics.protocol import Protocol
from harness.optim.optimizers import OPTIMIZERS
from harness.optim.schedules import SCHEDULES
from harness.utils.options import Component
from harness.utils.registry import Registry
from harness.utils.yaml_file import validate


def stored_protocol(config: Mapping[str, Any]) -> tuple[Protocol, bool, int | None]:
    """Protocol, `smoke` and `images` of a stored job: version 2 kept the last two inside the first."""
    stored = config["protocol"]
    protocol = Protocol.from_stored(stored)
    if "smoke" not in stored:
        return protocol, config.get("smoke", False), config.get("images")
    if stored["smoke"]:
        protocol = protocol.model_copy(update={"name": protocol.name.removesuffix("-smoke")})
    return protocol, stored["smoke"], stored["images"]


def job_from_stored(config: Mapping[str, Any]) -> Job:
    """The job of a database's row, also of one that an earlier version wrote.

    Raises:
        SuiteError: it names a loss, say, of a package that is no longer installed.
    """
    protocol, smoke, images = stored_protocol(config)
    recipe = _recipe_from_stored(config["recipe"])
    own = {"recipe": recipe, "protocol": protocol, "smoke": smoke, "images": images}
    return validate(Job, {**config, **own}, None, "the stored job")


def _recipe_from_stored(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe: version 2 kept the fields of every kind of optimizer, schedule and loss with each of them."""
    loss = recipe["loss"]
    return {
        **recipe,
        "optimizer": _own_fields(recipe["optimizer"], OPTIMIZERS),
        "schedule": _own_fields(recipe["schedule"], SCHEDULES),
        "loss": {**loss, "terms": [_own_fields(term, LOSSES) for term in loss["terms"]]},
    }


def _own_fields(stored: Mapping[str, Any], registry: Registry[Any]) -> dict[str, Any]:
    """Without the fields that version 2 stored although they are those of other kinds."""
    if stored["name"] not in registry:
        return dict(stored)
    kind: type[Component] = registry.get(stored["name"])
    others = kind.former_fields.keys() - kind.model_fields.keys()
    return {name: value for name, value in stored.items() if name not in others}
