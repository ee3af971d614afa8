"""Options of what a suite can name: strict records, and the choice of one kind among several by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from harness.errors import BenchError, PluginError
from harness.utils.registry import Registry

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Strict(BaseModel):
    """A frozen record without unknown fields; a mistyped name is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Component(Strict):
    """One kind of loss, optimizer, schedule or augmentation: its options, with a method that does what it says."""


Kind = TypeVar("Kind", bound=Component)


@dataclass(frozen=True)
class ByName(Generic[Kind]):
    """Marks a field of which a registry holds the kinds: `Annotated[Optimizer, ByName(OPTIMIZERS, Optimizer)]`.

    Args:
        registry: the kinds by name.
        base: the class that all of them have as a base.
        key: the field in which the name stands.
        default: the kind where no name is given; None: a name must be given.
    """

    registry: Registry[type[Kind]]
    base: type[Kind]
    key: str = "name"
    default: str | None = None

    def kind(self, name: str) -> type[Kind]:
        """The class of a name.

        Raises:
            UnknownName: there is none.
            PluginError: another package brings something else under this name.
        """
        found = self.registry.get(name)
        what = f"the {self.registry.kind} {name!r} ({self.registry.origin(name)})"
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise PluginError(f"{what} is no subclass of {self.base.__module__}.{self.base.__qualname__}")
        if self.key not in found.model_fields or found.model_fields[self.key].default != name:
            raise PluginError(f"{what} needs a field `{self.key}: Literal[{name!r}] = {name!r}`")
        return found

    def name_in(self, fields: Mapping[str, Any]) -> str | None:
        """The name that fields give, or the default."""
        name = fields.get(self.key, self.default)
        return None if name is None else str(name)

    def fields(self, own: bool = False) -> set[str]:
        """The fields of any kind; or of ours, and of other packages' that were asked for."""
        found = self.registry.own_items() if own else self.registry.items()
        return {field for _, kind in found for field in getattr(kind, "model_fields", ())}

    def carried_over(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
        """Of old fields those that go with new ones: where the kind changes, not what only the old kind has."""
        before, now = self.name_in(old), self.name_in({**old, **new})
        if before == now or before not in self.registry or now not in self.registry:
            return dict(old)
        had, has = (getattr(self.registry.get(str(name)), "model_fields", {}) for name in (before, now))
        return {name: value for name, value in old.items() if name not in had.keys() - has.keys()}

    def _kinds(self) -> dict[str, type[Kind]]:
        return {name: kind for name, kind in self.registry.items() if hasattr(kind, "model_fields")}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validated)

    def _validated(self, given: Any) -> Kind:
        if isinstance(given, self.base):
            return given
        if not isinstance(given, Mapping):
            raise PydanticCustomError("mapping", f"a mapping of fields is needed, such as {{{self.key}: …}}")
        name = self.name_in(given)
        if name is None:
            self._refuse(self.key, "this field is required")
        try:
            kind = self.kind(name)
        except BenchError as error:
            self._refuse(self.key, f"{error.message} There are: {', '.join(sorted(self.registry.announced_names()))}.")
        for field in given.keys() - kind.model_fields.keys():
            others = sorted(other for other, one in self._kinds().items() if field in one.model_fields)
            if others:
                what = f"the {self.registry.kind} {name} has no such field"
                self._refuse(str(field), f"{what}; these have it: {', '.join(others)}")
        return kind.model_validate({**given, self.key: name})

    def _refuse(self, field: str, message: str) -> NoReturn:
        """Refuse a field, with its place."""
        kind = PydanticCustomError("component", "{message}", {"message": message})
        details = InitErrorDetails(type=kind, loc=(field,), input={})
        raise ValidationError.from_exception_data(self.registry.kind, [details])
