"""Names -> networks: the project's own, torchvision's, those of installed packages and of single files.

Nothing here imports torch or runs another author's code: names, sources and their hashes are read as text, so that
planning is quick and safe. `ModelEntry.load` imports; only the process of a job calls it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import PluginError, UnknownName
from harness.utils.normalization import Normalization
from harness.utils.reading import CannotRead, read_text
from harness.utils.text import plain_line

from .declaration import DEFAULT_STRIDE, Declaration, read_declaration
from .requirements import installed
from .sources import OWN, module_hash, module_text
from .zoo import SMP_BACKBONE, TORCHVISION, TORCHVISION_BACKBONE, smp_builder, smp_parts, torchvision_builder

if TYPE_CHECKING:
    from torch import nn

ENTRY_POINTS = "segbench.models"
# Origins whose networks take pretrained weights by the parameter `pretrained`, and start from scratch without it.
BY_PARAMETER = ("built in", "torchvision", "smp")

# Bytes of a network's single file.
LONGEST_SOURCE = 2 * 1024**2

Build = Callable[..., "nn.Module"]


@dataclass(frozen=True)
class ModelEntry:
    """A network that can be named in a suite."""

    name: str
    target: str
    """`module:function`, or the function's name in a single file."""
    summary: str = ""
    stride: int = DEFAULT_STRIDE
    """Height and width of the input are padded to multiples of it."""
    paper: str = ""
    license: str = ""
    """Of the network's code."""
    origin: str = "built in"
    """built in, torchvision, smp, plugin PACKAGE, or file NAME."""
    source: str = field(default="", repr=False)
    """Single files: the whole text, which travels to the worker and into the database."""
    backbone: tuple[str, ...] | None = None
    """Names of the submodules that pretrained weights fill; () where there are none, None where nobody says."""
    pretrained_on: tuple[str, ...] | None = None
    """Strangers' networks: what their first weights were trained on; () from scratch, None if the file does not say."""
    authors: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    """Packages that it needs, as pip is told them."""
    normalize: Normalization | None = None
    """Takes the place of the recipe's, unless the suite says it of this network."""
    size: tuple[int, int] | None = None
    """Height and width of the training input, in the same way."""

    @property
    def source_hash(self) -> str:
        """SHA-256 of the code that builds the network: of its own package, wherever that stands.

        Of packages that it declares to need, the installed versions count.

        Raises:
            PluginError: there is no source to be read, or such a package is not installed.
        """
        if self.source:
            own = hashlib.sha256(self.source.encode()).hexdigest()
        else:
            own = module_hash(self.target.split(":")[0])
        if not self.requires:
            return own
        return hashlib.sha256("\n".join((own, *installed(self.requires, self.name))).encode()).hexdigest()

    @property
    def recipe(self) -> dict[str, Any]:
        """Fields of a recipe that it declares for itself."""
        declared = {"normalize": self.normalize, "size": self.size}
        return {name: value for name, value in declared.items() if value is not None}

    def load(self) -> Build:
        """Import the builder.

        Raises:
            PluginError: the module or the function cannot be had.
        """
        if self.source:
            return _builder_from_source(self)
        module_name, _, function = self.target.partition(":")
        if self.origin == "torchvision":
            return torchvision_builder(function)
        if self.origin == "smp":
            return smp_builder(function)
        try:
            builder = getattr(importlib.import_module(module_name), function)
        except (ImportError, AttributeError) as error:
            raise PluginError(f"{self.name} ({self.origin}): {self.target} cannot be loaded: {error}") from error
        return builder  # type: ignore[no-any-return]


def known_models() -> dict[str, ModelEntry]:
    """Every network that can be named: built in, torchvision's, and those of installed packages."""
    return dict(_known()[0])


def find_model(name: str, extra: dict[str, ModelEntry] | None = None) -> ModelEntry:
    """The entry of a name.

    Args:
        name: a network.
        extra: networks from single files, which come first.

    Raises:
        UnknownName: there is none; suggests the nearest.
        PluginError: an installed package announces one that cannot be used.
    """
    entries, broken = _known()
    known = entries | (extra or {})
    if name.startswith("smp/"):
        return _smp_entry(name)
    if name in known:
        return known[name]
    if name in broken:
        raise PluginError(f"the model {name!r} cannot be used: {broken[name]}")
    raise UnknownName.of("model", name, known, "bench models")


def read_plugin(path: Path) -> ModelEntry:
    """Read a user's single file, as text; nothing of it runs.

    Raises:
        PluginError: it cannot be read, is not Python, or lacks `NAME` or `build`; names file and line.
    """
    try:
        source = read_text(path, LONGEST_SOURCE)
    except CannotRead as error:
        raise PluginError(f"{path}: {error}") from error
    said = read_declaration(source, str(path))
    hint = 'A model file needs NAME = "my_net" and def build(num_classes, **params), which returns an nn.Module.'
    if said.name is None:
        raise PluginError(f"{path}: has no constant NAME", hint)
    if not said.builds:
        raise PluginError(f"{path}: has no function build", hint)
    if said.name in known_models():
        raise PluginError(f"{path}: NAME = {said.name!r} is taken by a known model", "Choose another name.")
    return _entry(said.name, "build", said, f"file {path.name}", source)


@cache
def _known() -> tuple[dict[str, ModelEntry], dict[str, str]]:
    """The networks by name, and what is wrong with those of installed packages that cannot be used."""
    known = _built_in()
    for name, summary in TORCHVISION.items():
        full = f"torchvision/{name}"
        known[full] = ModelEntry(
            full,
            f"torchvision.models.segmentation:{name}",
            summary,
            license="BSD-3-Clause",
            origin="torchvision",
            backbone=TORCHVISION_BACKBONE,
        )
    broken: dict[str, str] = {}
    for point in entry_points(group=ENTRY_POINTS):
        origin = plain_line(f"plugin {point.dist.name} {point.dist.version}" if point.dist else "plugin")
        name = plain_line(point.name)
        if name in known:
            warnings.warn(f"{origin}: its model {name!r} is left out: the name is taken", stacklevel=3)
            continue
        try:
            known[name] = _of_package(point, origin)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with another author's package, the rest is there)
            told = error.message if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            broken[name] = plain_line(f"{origin}: {told}")
            warnings.warn(f"{broken[name]}; its model {name!r} is left out", stacklevel=3)
    return known, broken


def _built_in() -> dict[str, ModelEntry]:
    """The files of this package that declare a network; the others, without a NAME, are what networks share."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        said = read_declaration(path.read_text(encoding="utf-8"), str(path))
        if said.name is not None:
            found[said.name] = _entry(said.name, f"{OWN}.{path.stem}:build", said, "built in")
    return found


def _of_package(point: EntryPoint, origin: str) -> ModelEntry:
    """The network that an installed package announces under a name; found by reading, without importing anything.

    Raises:
        PluginError: its source cannot be found or read, or what it says of itself is wrong.
    """
    module = point.value.split(":")[0]
    found = module_text(module)
    if found is None:
        raise PluginError(
            f"the source of {module or 'its module'} cannot be found, so nobody could tell what it trains"
        )
    return _entry(point.name, point.value, read_declaration(found[0], module), origin)


def _entry(name: str, target: str, said: Declaration, origin: str, source: str = "") -> ModelEntry:
    described = ModelEntry(name, target, said.summary, said.stride, said.paper, said.license, origin, source)
    return replace(
        described,
        backbone=said.backbone,
        pretrained_on=said.pretrained_on,
        authors=said.authors,
        requires=said.requires,
        normalize=said.normalize,
        size=said.size,
    )


def _smp_entry(name: str) -> ModelEntry:
    """A network of segmentation_models_pytorch.

    Raises:
        PluginError: the name has another form, or the package is not installed.
    """
    architecture, encoder = smp_parts(name)
    return ModelEntry(
        name,
        f"segmentation_models_pytorch:{architecture}/{encoder}",
        f"{architecture} on {encoder}, as segmentation_models_pytorch builds it",
        license="MIT; encoders have terms of their own",
        origin="smp",
        backbone=SMP_BACKBONE,
    )


def _builder_from_source(entry: ModelEntry) -> Build:
    """Run a single file as a module of its own and take its builder."""
    name = "segbench_plugin_" + hashlib.sha256(entry.source.encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_loader(name, loader=None)
    if spec is None:
        raise PluginError(f"{entry.origin}: cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    module.__file__ = entry.origin.removeprefix("file ")
    sys.modules[name] = module
    exec(compile(entry.source, module.__file__, "exec"), module.__dict__)
    return getattr(module, entry.target)  # type: ignore[no-any-return]
