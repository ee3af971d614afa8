"""How much memory a training needs at its peak, without a GPU: every tensor of one step is counted while it lives.

The step is taken on tensors that have shapes and no content, so that neither memory nor time is needed. A forward or a
loss that asks for values takes it with real ones, on two images, and what depends on the batch is scaled up.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.config.job import Job
from harness.config.recipe import Recipe
from harness.optim.optimizers import Optimizer
from harness.scoring.predict import autocast, forward, padded_to_stride
from harness.scoring.samples import CPU
from harness.training.loop import TrainingContext, output_loss
from harness.utils.images import normalize

# Images of a step with real tensors; batch normalization needs more than one.
REAL_IMAGES = 2


class LiveBytes(TorchDispatchMode):
    """While active, counts the bytes of every tensor that an operation makes, until it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation and count what it gives."""
        made = operation(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor):
                self._count(one.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return  # a view, or an operation in place

        def gone(_: Any) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def estimated_memory(job: Job, build: Callable[[], TrainingContext]) -> int:
    """Bytes that a process of a job's training has allocated at its peak, as torch.cuda.max_memory_allocated counts.

    Weights, gradients, the optimizer's state and a moving average of the weights, and the larger of what one part of a
    batch needs in training and what a prediction needs. Not in it: the libraries' own workspaces and what the
    allocator cannot use again.

    Args:
        job: says recipe and resources.
        build: builds the network and what it works with, on the CPU.
    """
    context, without_content = build(), FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with FakeCopyMode(without_content):
            model = copy.deepcopy(context.model)
        with without_content:
            return _memory(job, replace(context, model=model), None)
    except Exception:  # noqa: BLE001 (whatever a network does that needs values; one that is broken fails again below)
        return _memory(job, context, REAL_IMAGES)


def _memory(job: Job, context: TrainingContext, most: int | None) -> int:
    """The estimate, with at most so many images at once."""
    recipe = job.recipe
    processes = job.resources.world_size
    of_process = math.ceil(recipe.batch_size / processes)
    part = math.ceil(of_process / recipe.parts(recipe.batch_size, processes))
    train = _scaled(part, most, lambda count: training_peak(context, recipe, count))
    predict = _scaled(predicted_at_once(recipe), most, lambda count: prediction_peak(context, recipe, count))
    return fixed_bytes(context.model, recipe) + max(train, predict)


def _scaled(images: int, most: int | None, peak: Callable[[int], int]) -> int:
    count = images if most is None else min(images, most)
    return round(peak(count) * images / count)


def predicted_at_once(recipe: Recipe) -> int:
    """Images that are predicted together."""
    one_by_one = recipe.predict.mode != "resize" or recipe.predict.augmented
    return 1 if one_by_one else recipe.at_once


def training_peak(context: TrainingContext, recipe: Recipe, count: int) -> int:
    """Bytes of everything that comes and goes in one step on so many images: activations and their gradients."""
    model = context.model.train()
    live = LiveBytes()
    # Gradients of weights count as fixed: they stay while the parts of a batch follow one another.
    hooks = [p.register_post_accumulate_grad_hook(_forget) for p in model.parameters() if p.requires_grad]
    try:
        with live:
            images, targets = _batch(recipe, count)
            x = padded_to_stride(normalize(images, recipe.normalize), context.stride)
            with autocast(CPU, recipe.precision):
                output_loss(model, model(x), targets, recipe, context).backward()
    finally:
        for hook in hooks:
            hook.remove()
    return live.peak


def prediction_peak(context: TrainingContext, recipe: Recipe, count: int) -> int:
    """Bytes of everything that comes and goes in the prediction of so many images."""
    model, live = context.model.eval(), LiveBytes()
    with live, torch.no_grad():
        forward(model, _batch(recipe, count)[0], recipe, context.channels, context.stride)
    return live.peak


def fixed_bytes(model: nn.Module, recipe: Recipe) -> int:
    """Bytes that stay: weights and buffers, gradients, the optimizer's state, a moving average of the weights."""
    weights = sum(_bytes(p) for p in model.parameters())
    trained = sum(_bytes(p) for p in model.parameters() if p.requires_grad)
    average = weights if recipe.ema is not None else 0
    state = round(trained * state_of_a_weight(recipe.optimizer))
    return weights + sum(_bytes(b) for b in model.buffers()) + trained + state + average


def state_of_a_weight(options: Optimizer) -> float:
    """Bytes that an optimizer keeps for each byte of a weight: 1 for SGD with momentum, 2 for Adam."""
    weight = nn.Parameter(torch.zeros(256))
    optimizer = options.build([{"params": [weight]}])
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    kept = tree_leaves(optimizer.state[weight])
    return sum(_bytes(one) for one in kept if isinstance(one, Tensor) and one.numel() > 1) / _bytes(weight)


def _forget(weight: Tensor) -> None:
    weight.grad = None


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _batch(recipe: Recipe, count: int) -> tuple[Tensor, Tensor]:
    shape = (count, *recipe.size)
    return torch.zeros((count, 3, *recipe.size), dtype=torch.uint8), torch.zeros(shape, dtype=torch.uint8)
