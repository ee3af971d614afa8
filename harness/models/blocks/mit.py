"""ImageNet weights of SegFormer's encoder (MiT), from a file that somebody has placed by hand.

Two layouts of names are read: that of the authors' `mit_b0.pth`, and that of the library transformers.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import WeightsError

from .weights import weights_file

# What a file may end in; the first one that is there is taken.
ENDINGS = (".pth", ".bin", ".safetensors")

# Layers of a stage, and of a block, by our name: the authors' and transformers'.
OF_STAGE = {
    "patch": ("patch_embed{one}.proj", "patch_embeddings.{zero}.proj"),
    "norm_patch": ("patch_embed{one}.norm", "patch_embeddings.{zero}.layer_norm"),
    "norm": ("norm{one}", "layer_norm.{zero}"),
}
BLOCK = ("block{one}.{block}.", "block.{zero}.{block}.")
OF_BLOCK = {
    "norm1": ("norm1", "layer_norm_1"),
    "norm2": ("norm2", "layer_norm_2"),
    "attention.query": ("attn.q", "attention.self.query"),
    "attention.reduce": ("attn.sr", "attention.self.sr"),
    "attention.norm": ("attn.norm", "attention.self.layer_norm"),
    "attention.project": ("attn.proj", "attention.output.dense"),
    "ffn.widen": ("mlp.fc1", "mlp.dense1"),
    "ffn.mix": ("mlp.dwconv.dwconv", "mlp.dwconv.dwconv"),
    "ffn.narrow": ("mlp.fc2", "mlp.dense2"),
}
# One layer here and at the authors', two of transformers', one upon the other.
KEY_VALUE = (("attn.kv",), ("attention.self.key", "attention.self.value"))
AUTHORS, TRANSFORMERS = 0, 1

# What may stand before a name, and the classifier's weights, which the encoder has no use for.
PREFIXES = ("module.", "segformer.", "encoder.")
CLASSIFIER = ("head.", "classifier.")


def load_mit(stages: nn.ModuleList, variant: str) -> None:
    """Fill the stages of SegFormer's encoder with ImageNet weights.

    Args:
        stages: of the variant's width and depth.
        variant: b0 to b5.

    Raises:
        WeightsError: there is no such file, it cannot be read, or it holds something else; says where it belongs.
    """
    file = _placed(variant)
    stages.load_state_dict(mit_state(_read(file), stages, file))


def mit_state(state: dict[str, Tensor], stages: nn.ModuleList, file: Path) -> dict[str, Tensor]:
    """Weights in the authors' or in transformers' layout, under the names of our stages.

    Args:
        state: the weights.
        stages: whose names and shapes they must have.
        file: where they come from, for messages.

    Raises:
        WeightsError: they are those of a segmentation network, or of another variant.
    """
    rest = {_bare(name): value for name, value in state.items()}
    if any(name.startswith("decode_head.") for name in rest):
        raise WeightsError(
            f"{file}: holds a decoder as well: it was trained for segmentation, and pretrained: imagenet would say "
            "something else"
        )
    rest = {name: value for name, value in rest.items() if not name.startswith(CLASSIFIER)}
    layout = AUTHORS if "patch_embed1.proj.weight" in rest else TRANSFORMERS
    found, wrong = {}, []
    for name, value in stages.state_dict().items():
        sources = list(_sources(name, layout))
        parts = [rest.pop(source) for source in sources if source in rest]
        if len(parts) < len(sources):
            wrong.append(f"no {' and '.join(sources)}")
            continue
        found[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
        if found[name].shape != value.shape:
            wrong.append(f"{sources[0]} has shape {tuple(found[name].shape)}, expected {tuple(value.shape)}")
    wrong += [f"unexpected {name}" for name in rest]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise WeightsError(f"{file}: these are not the weights of this variant: {', '.join(wrong[:3])}{more}")
    return found


def _sources(name: str, layout: int) -> Iterator[str]:
    """The names in a layout of what makes up one of our stages' weights."""
    stage, _, layer = name.partition(".")
    numbers: dict[str, Any] = {"zero": int(stage), "one": int(stage) + 1}
    layer, _, kind = layer.rpartition(".")
    if not layer.startswith("blocks."):
        yield f"{OF_STAGE[layer][layout].format(**numbers)}.{kind}"
        return
    _, block, layer = layer.split(".", 2)
    before = BLOCK[layout].format(block=block, **numbers)
    theirs = KEY_VALUE[layout] if layer == "attention.key_value" else (OF_BLOCK[layer][layout],)
    yield from (f"{before}{one}.{kind}" for one in theirs)


def _bare(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _placed(variant: str) -> Path:
    """The file of a variant.

    Raises:
        WeightsError: there is none; says where to place it, and why it is not fetched.
    """
    places = [weights_file(f"mit_{variant}{ending}") for ending in ENDINGS]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise WeightsError(
            f"The ImageNet weights of SegFormer's encoder MiT-{variant.upper()} are not here. They are not fetched by "
            "themselves: NVIDIA's license allows their use for non-commercial purposes only",
            f"If that suits you, place the authors' mit_{variant}.pth, or the checkpoint nvidia/mit-{variant} in the "
            f"layout of transformers, at {places[0]} (or with the ending {' or '.join(ENDINGS[1:])}); or train from "
            "scratch with the model parameter pretrained: none.",
        )
    return file


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        WeightsError: it cannot be read as weights.
    """
    try:
        state: Any = _safetensors(file) if file.suffix == ".safetensors" else _pickled(file)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{file}: cannot be read as weights: {_first_line(error)}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file}: holds no weights by name")
    return state


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _pickled(file: Path) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True)


def _safetensors(file: Path) -> Any:
    try:
        package, reader = importlib.import_module("safetensors"), importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise WeightsError(f"{file}: the package safetensors is not installed", "pip install safetensors") from error
    try:
        return reader.load_file(file)
    except package.SafetensorError as error:
        raise ValueError(str(error)) from error
