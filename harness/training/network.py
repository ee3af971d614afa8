"""A job's network: built, and with the weights that it starts from."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

from harness.config.job import Job
from harness.datasets import DatasetInfo
from harness.errors import BadModel, BenchError
from harness.models.registry import ModelEntry
from harness.training.cuda import start_cuda
from harness.training.distributed import ProcessGroup, synchronize_batch_norm
from harness.utils.text import plain_line


def logit_channels(job: Job, info: DatasetInfo) -> int:
    """K of the logits: the sigmoid channels of a binary loss on a binary set, else one for each class.

    Raises:
        BenchError: a binary loss on a set that is not binary.
    """
    if job.model.label_map is not None:
        return len(job.model.label_map)
    channels = job.recipe.loss.sigmoid_channels
    if channels is None:
        return len(info.classes)
    if len(info.classes) != 2:
        loss = job.recipe.loss.binary_term
        raise BenchError(f"the loss {loss} needs a binary data set; {info.name} has more classes")
    return channels


def build_network(entry: ModelEntry, job: Job, channels: int, group: ProcessGroup | None = None) -> torch.nn.Module:
    """Build a job's network on the device that the job asks for, of several devices that of its rank.

    Raises:
        BadModel: the builder did not return a network with trainable parameters, or it has no such backbone as it
            declares.
    """
    model = entry.load()(channels, **job.model.params)
    if not isinstance(model, torch.nn.Module):
        raise BadModel(f"build returned {type(model).__name__}, expected a torch.nn.Module")
    if not any(p.requires_grad for p in model.parameters()):
        raise BadModel("the network has no trainable parameter")
    for name in entry.backbone or ():
        _check_backbone(model, name)
    if job.resources.gpus <= 0:
        return model
    if group is None or group.world_size == 1:
        start_cuda()
        return model.to(torch.device("cuda"))
    return synchronize_batch_norm(model.to(group.device))


def _check_backbone(model: torch.nn.Module, name: str) -> None:
    try:
        model.get_submodule(name)
    except AttributeError:
        there = ", ".join(child for child, _ in model.named_children())
        raise BadModel(
            f"BACKBONE names {name!r}, which is no submodule of the network; it has {there or 'none'}"
        ) from None


def start_from(model: torch.nn.Module, path: Path) -> None:
    """Take over every weight of a file that has the name and shape of one of the network's; the others stay new.

    Raises:
        BadModel: there is none.
    """
    own = model.state_dict()
    fitting = {n: v for n, v in read_weights(path).items() if n in own and _form(v) == _form(own[n])}
    if not fitting:
        raise BadModel(f"{path.name} has no weight with the name and shape of one of this network's")
    _take_over(model, fitting, path, strict=False)


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load the weights of a network that was trained before.

    Raises:
        BadModel: they are not this network's; names missing and unexpected keys.
    """
    state, own = read_weights(path), model.state_dict()
    wrong = [f"missing key {n}" for n in own if n not in state]
    wrong += [f"unexpected key {plain_line(n, 100)}" for n in state if n not in own]
    wrong += [
        f"{n} has {_form(state[n])}, expected {_form(own[n])}"
        for n in own
        if n in state and _form(state[n]) != _form(own[n])
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BadModel(f"{path.name} does not fit this network: {', '.join(wrong[:3])}{more}")
    _take_over(model, state, path, strict=True)


def _take_over(model: torch.nn.Module, state: dict[str, Any], path: Path, strict: bool) -> None:
    try:
        model.load_state_dict(state, strict=strict)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        raise BadModel(f"{path.name} does not fit this network: {_first_line(error)}") from error


def _form(value: Any) -> str:
    """What a value of a state dict must agree in with the network's own."""
    if not isinstance(value, torch.Tensor):
        return f"a value that is no tensor ({type(value).__name__})"
    if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_nested:
        return "a tensor that is not dense"
    return f"shape {tuple(value.shape)}"


def read_weights(path: Path) -> dict[str, Any]:
    """A state dict from a file, where it may be the whole content or stand under `model` or `state_dict`.

    Raises:
        BadModel: the file cannot be read as one.
    """
    try:
        _refuse_other_files(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file, or one made to harm, makes of reading it
        raise BadModel(f"{path}: cannot be loaded as weights: {_first_line(error)}") from error
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict):
        raise BadModel(f"{path}: holds {type(state).__name__}, not a state dict")
    if not all(isinstance(name, str) for name in state):
        raise BadModel(f"{path}: holds a dictionary with other keys than names, not a state dict")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _refuse_other_files(path: Path) -> None:
    """Refuse what is no regular file, and an archive whose parts are larger than it: PyTorch never compresses them.

    Raises:
        OSError: there is none.
        ValueError: says which of the two.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked, size = sum(part.file_size for part in archive.infolist()), path.stat().st_size
        if unpacked > size:
            raise ValueError(f"an archive of {size:,} bytes that unpacks to {unpacked:,}")


def _first_line(error: BaseException) -> str:
    return plain_line((str(error).strip().splitlines() or [type(error).__name__])[0])
