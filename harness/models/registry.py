"""Names -> networks: the project's own, torchvision's, installed plugins and single files.

Nothing here imports torch or runs a stranger's code: names, sources and their hashes are read as text, so
that planning is quick and safe. `ModelEntry.load` imports; only a training unit calls it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import io
import sys
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import PluginError, UnknownName
from harness.models.former_sources import FORMER_SOURCES

if TYPE_CHECKING:
    from torch import nn

ENTRY_POINTS = "segbench.models"
DEFAULT_STRIDE = 32
# Constants of a network's file that say something about it and do not move its results.
DESCRIBING = ("NAME", "SUMMARY", "PAPER", "LICENCE", "LICENSE")

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
    licence: str = ""
    """Of the network's code."""
    origin: str = "built in"
    """built in, torchvision, smp, plugin PACKAGE, or file NAME."""
    source: str = field(default="", repr=False)
    """Single files: the whole text, which travels to the worker and into the database."""

    @property
    def source_hash(self) -> str:
        """SHA-256 of the code that builds the network: of its own package, wherever that stands."""
        if self.source:
            return hashlib.sha256(self.source.encode()).hexdigest()
        return module_hash(self.target.split(":")[0])

    @property
    def former_hashes(self) -> tuple[str, ...]:
        """What earlier versions took for the hash of the very same code."""
        if self.source or self.origin in ("torchvision", "smp"):
            return ()
        if self.origin == "built in":
            today, former = FORMER_SOURCES.get(self.name, ("", ""))
            return (former,) if today == self.source_hash else ()
        return (former_module_hash(self.target.split(":")[0]),)

    def load(self) -> Build:
        """Import the builder.

        Raises:
            PluginError: the module or the function cannot be had.
        """
        if self.source:
            return _builder_from_source(self)
        module_name, _, function = self.target.partition(":")
        if self.origin == "torchvision":
            return _torchvision_builder(function)
        if self.origin == "smp":
            return _smp_builder(function)
        try:
            builder = getattr(importlib.import_module(module_name), function)
        except (ImportError, AttributeError) as error:
            raise PluginError(f"{self.name} ({self.origin}): {self.target} cannot be loaded: {error}") from error
        return builder  # type: ignore[no-any-return]


BUILT_IN: dict[str, ModelEntry] = {
    entry.name: replace(entry, licence="Apache-2.0")
    for entry in (
        ModelEntry(
            "fcn32s",
            "harness.models.fcn:fcn32s",
            "VGG16 made convolutional, upsampled ×32 in one step",
            paper="Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015",
        ),
        ModelEntry(
            "fcn16s",
            "harness.models.fcn:fcn16s",
            "FCN-32s with a skip from pool4",
            paper="Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015",
        ),
        ModelEntry(
            "fcn8s",
            "harness.models.fcn:fcn8s",
            "FCN-16s with a skip from pool3",
            paper="Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015",
        ),
        ModelEntry(
            "unet",
            "harness.models.unet:unet",
            "contracting and expanding path joined by concatenation",
            stride=16,
            paper="Ronneberger et al., U-Net, MICCAI 2015",
        ),
        ModelEntry(
            "unet_strided",
            "harness.models.unet_strided:unet_strided",
            "the U-Net of study C: strided convolutions, nearest upsampling, dropout",
            stride=16,
            paper="after Ronneberger et al., U-Net, MICCAI 2015",
        ),
        ModelEntry(
            "unetpp",
            "harness.models.unetpp:unetpp",
            "U-Net with nested dense skips and deep supervision; can be pruned",
            stride=16,
            paper="Zhou et al., UNet++, DLMIA 2018",
        ),
        ModelEntry(
            "segnet",
            "harness.models.segnet:segnet",
            "VGG16 and its mirror image, joined by the places of the maxima",
            paper="Badrinarayanan et al., SegNet, TPAMI 2017",
        ),
        ModelEntry(
            "refinenet",
            "harness.models.refinenet:refinenet",
            "ResNet and four cascaded refinement blocks",
            paper="Lin et al., RefineNet, CVPR 2017",
        ),
        ModelEntry(
            "pspnet",
            "harness.models.pspnet:pspnet",
            "dilated ResNet with pooled contexts at four grids, and an auxiliary head",
            paper="Zhao et al., Pyramid Scene Parsing Network, CVPR 2017",
        ),
        ModelEntry(
            "deeplabv3",
            "harness.models.deeplab:deeplabv3",
            "ResNet and atrous spatial pyramid pooling; the heads of v1 and v2 as options",
            paper="Chen et al., Rethinking Atrous Convolution, 2017",
        ),
        ModelEntry(
            "deeplabv3plus",
            "harness.models.deeplab:deeplabv3plus",
            "ResNet, atrous spatial pyramid pooling and a decoder with low-level features",
            paper="Chen et al., Encoder-Decoder with Atrous Separable Convolution, ECCV 2018",
        ),
        ModelEntry(
            "bisenet",
            "harness.models.bisenet:bisenet",
            "a spatial and a context path, fused; two auxiliary heads",
            paper="Yu et al., BiSeNet, ECCV 2018",
        ),
        ModelEntry(
            "emanet",
            "harness.models.emanet:emanet",
            "dilated ResNet and expectation-maximization attention",
            paper="Li et al., Expectation-Maximization Attention Networks, ICCV 2019",
        ),
        ModelEntry(
            "segformer",
            "harness.models.segformer:segformer",
            "hierarchical transformer and a decoder of linear layers; b0 to b5",
            paper="Xie et al., SegFormer, NeurIPS 2021",
        ),
    )
}

TORCHVISION: dict[str, str] = {
    "fcn_resnet50": "FCN head on a dilated ResNet-50, with an auxiliary head",
    "fcn_resnet101": "FCN head on a dilated ResNet-101, with an auxiliary head",
    "deeplabv3_resnet50": "DeepLabV3 on ResNet-50, with an auxiliary head",
    "deeplabv3_resnet101": "DeepLabV3 on ResNet-101, with an auxiliary head",
    "deeplabv3_mobilenet_v3_large": "DeepLabV3 on MobileNetV3, with an auxiliary head",
    "lraspp_mobilenet_v3_large": "LR-ASPP on MobileNetV3",
}


@cache
def known_models() -> dict[str, ModelEntry]:
    """Every network that can be named: built in, torchvision's, and those of installed plugins."""
    known = dict(BUILT_IN)
    for name, summary in TORCHVISION.items():
        full = f"torchvision/{name}"
        known[full] = ModelEntry(
            full, f"torchvision.models.segmentation:{name}", summary, licence="BSD-3-Clause", origin="torchvision"
        )
    for point in entry_points(group=ENTRY_POINTS):
        known[point.name] = _entry_of(point)
    return known


def _entry_of(point: EntryPoint) -> ModelEntry:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
    module = point.value.split(":")[0]
    text = _module_text(module)
    facts = _constants(ast.parse(text)) if text else {}
    return ModelEntry(
        name=point.name,
        target=point.value,
        summary=str(facts.get("SUMMARY", "")),
        stride=int(facts.get("STRIDE", DEFAULT_STRIDE)),
        paper=str(facts.get("PAPER", "")),
        licence=str(facts.get("LICENCE", "")),
        origin=f"plugin {package}",
    )


def find_model(name: str, extra: dict[str, ModelEntry] | None = None) -> ModelEntry:
    """The entry of a name.

    Args:
        name: a network.
        extra: networks from single files, which come first.

    Raises:
        UnknownName: there is none; suggests the nearest.
    """
    known = known_models() | (extra or {})
    if name.startswith("smp/"):
        return _smp_entry(name)
    if name not in known:
        raise UnknownName.of("model", name, known, "bench models")
    return known[name]


def _smp_entry(name: str) -> ModelEntry:
    """`smp/ARCHITECTURE/ENCODER`: a network of segmentation_models_pytorch, of which there are hundreds.

    Raises:
        PluginError: the name has another form, or the package is not installed.
    """
    parts = name.split("/")
    if len(parts) != 3 or not all(parts):
        raise PluginError(f"{name}: write it as smp/ARCHITECTURE/ENCODER", "For example smp/Unet/resnet34.")
    if importlib.util.find_spec("segmentation_models_pytorch") is None:
        raise PluginError(
            f"{name}: the package segmentation-models-pytorch is not installed", 'pip install "segbench[zoo]"'
        )
    return ModelEntry(
        name,
        f"segmentation_models_pytorch:{parts[1]}/{parts[2]}",
        f"{parts[1]} on {parts[2]}, as segmentation_models_pytorch builds it",
        licence="MIT; encoders have terms of their own",
        origin="smp",
    )


def read_plugin(path: Path) -> ModelEntry:
    """Read a stranger's single file, as text; nothing of it runs.

    The file needs a constant `NAME = "..."` and a function `build(num_classes, **params)`. `STRIDE`,
    `SUMMARY` and `PAPER` are optional.

    Raises:
        PluginError: it cannot be read, is not Python, or lacks one of the two; names file and line.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"{path}: cannot be read: {error}") from error
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise PluginError(f"{path}:{line}: not valid Python: {getattr(error, 'msg', error)}") from error
    facts = _constants(tree)
    hint = 'A model file needs NAME = "my_net" and def build(num_classes, **params), which returns an nn.Module.'
    name = facts.get("NAME")
    if not isinstance(name, str) or not name.strip():
        raise PluginError(f"{path}: has no constant NAME", hint)
    builders = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == "build"]
    if not builders and "build" not in facts:
        raise PluginError(f"{path}: has no function build", hint)
    if name in known_models():
        raise PluginError(f"{path}: NAME = {name!r} is taken by a known model", "Choose another name.")
    stride = facts.get("STRIDE", DEFAULT_STRIDE)
    if not isinstance(stride, int) or stride < 1:
        raise PluginError(f"{path}: STRIDE = {stride!r} must be a whole number, 1 or more")
    return ModelEntry(
        name=name,
        target="build",
        summary=str(facts.get("SUMMARY", "")),
        stride=stride,
        paper=str(facts.get("PAPER", "")),
        licence=str(facts.get("LICENCE", "")),
        origin=f"file {path.name}",
        source=source,
    )


def _constants(tree: ast.Module) -> dict[str, Any]:
    """The module's top-level assignments of literals; other values are present as None."""
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                found[node.targets[0].id] = None
    return found


def _builder_from_source(entry: ModelEntry) -> Build:
    """Run a single file as a module of its own and take its builder."""
    name = "segbench_plugin_" + entry.source_hash[:12]
    spec = importlib.util.spec_from_loader(name, loader=None)
    if spec is None:
        raise PluginError(f"{entry.origin}: no module could be made of it")
    module = importlib.util.module_from_spec(spec)
    module.__file__ = entry.origin.removeprefix("file ")
    sys.modules[name] = module
    exec(compile(entry.source, module.__file__, "exec"), module.__dict__)
    return getattr(module, entry.target)  # type: ignore[no-any-return]


def _torchvision_builder(function: str) -> Build:
    def build(num_classes: int, pretrained: str = "none", **params: Any) -> nn.Module:
        from harness.models.weights import imagenet_or_none
        from harness.utils.vision import import_torchvision

        import_torchvision()
        segmentation = importlib.import_module("torchvision.models.segmentation")
        backbone = imagenet_or_none(pretrained, function.split("_", 1)[1])
        if "lraspp" not in function:
            params.setdefault("aux_loss", True)
        model = getattr(segmentation, function)(
            weights=None, weights_backbone=backbone, num_classes=num_classes, **params
        )
        return model  # type: ignore[no-any-return]

    return build


def _smp_builder(target: str) -> Build:
    def build(num_classes: int, pretrained: str = "none", **params: Any) -> nn.Module:
        from harness.errors import BenchError, WeightsError
        from harness.utils.vision import import_torchvision

        import_torchvision()
        smp = importlib.import_module("segmentation_models_pytorch")
        architecture, encoder = target.split("/")
        weights = None if pretrained == "none" else pretrained
        try:
            model = smp.create_model(architecture, encoder, weights, classes=num_classes, **params)
        except KeyError as error:
            raise BenchError(f"smp/{target}: there is no such architecture or encoder: {error}") from error
        except OSError as error:
            raise WeightsError(f"smp/{target}: its weights could not be fetched: {error}") from error
        return model  # type: ignore[no-any-return]

    return build


def _module_text(module: str) -> str | None:
    """A module's source, found without importing it (its parent package may be imported)."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).read_text(encoding="utf-8")


@cache
def module_hash(module: str) -> str:
    """SHA-256 over a module and everything it imports from its own package, found by reading them.

    Modules are named relative to their package, and of their text only `bare_source` counts: a network that is moved,
    whose package is renamed or whose documentation is improved keeps its hash.
    """
    packaged = _package_version(module)
    if packaged is not None:
        return packaged
    inside = _own_package(module)
    whole = hashlib.sha256()
    for name, text in sorted(_sources(module, inside).items()):
        whole.update(f"{name.removeprefix(inside)}\n{bare_source(name, text, inside)}\n".encode())
    return whole.hexdigest()


@cache
def former_module_hash(module: str) -> str:
    """As `module_hash` was taken up to training version 2: over full names and whole texts."""
    whole = hashlib.sha256()
    for name, text in sorted(_sources(module, _own_package(module)).items()):
        whole.update(f"{name}\n{text}\n".encode())
    return whole.hexdigest()


def _package_version(module: str) -> str | None:
    """Networks of torchvision and segmentation_models_pytorch go by their package's version."""
    top = module.split(".")[0]
    if top not in ("torchvision", "segmentation_models_pytorch"):
        return None
    from importlib.metadata import version

    return hashlib.sha256(f"{top} {version(top.replace('_', '-'))}".encode()).hexdigest()


def _own_package(module: str) -> str:
    """The package whose source counts: of the project's own only the networks'."""
    return "harness.models" if module.startswith("harness.") else module.split(".")[0]


def _sources(module: str, inside: str) -> dict[str, str]:
    """A module's text, and that of every module of its package that it needs.

    Raises:
        PluginError: the module has no source.
    """
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        text = _module_text(name)
        if text is None:
            if name == module:
                raise PluginError(f"the source of {module} cannot be found, so its results could not be traced")
            continue
        seen[name] = text
        waiting += [m for m in _imports(name, text) if m == inside or m.startswith(inside + ".")]
    return seen


def bare_source(module: str, text: str, inside: str) -> str:
    """What of a source can move a result.

    Comments, docstrings, blank lines and the constants that describe the network are left out; so is what says where
    the source stands: imports of its own package are made relative, imports from the rest of this project left out.
    """
    lines = [line.rstrip() for line in _without_comments(text)]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        kept = ""
        if isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            own = base == inside or base.startswith(f"{inside}.")
            if not own and base.split(".")[0] != "harness":
                continue
            names = ", ".join(f"{a.name} as {a.asname}" if a.asname else a.name for a in node.names)
            kept = f"from {base.removeprefix(inside)} import {names}" if own else ""
        elif not _is_docstring(node) and node not in _descriptions(tree):
            continue
        first, last = node.lineno - 1, node.end_lineno or node.lineno  # type: ignore[attr-defined]
        lines[first:last] = [kept, *[""] * (last - first - 1)]
    return "\n".join(line for line in lines if line)


def _without_comments(text: str) -> list[str]:
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return lines


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _descriptions(tree: ast.Module) -> list[ast.AST]:
    """The assignments that describe a network and build nothing."""
    return [
        node
        for node in tree.body
        if isinstance(node, ast.Assign) and any(getattr(name, "id", "") in DESCRIBING for name in node.targets)
    ]


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """The module that a `from … import` names."""
    base = node.module or ""
    if not node.level:
        return base
    package = module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])


def _imports(module: str, text: str) -> list[str]:
    """The modules a source imports, absolute and relative, by name."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found
