"""The contract that every network keeps, as checks: each tries one thing and says in plain words what came of it.

`bench check-model` runs them on a stranger's network in its sandbox, `harness.testing.ModelContract` as tests. A check
returns what it found; it raises `BadModel` where the contract is broken, and `Remark` where it is kept and somebody
should know something.
"""

from __future__ import annotations

import io
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.errors import BadModel
from harness.scoring.predict import autocast, padded_to_stride, split_outputs
from harness.scoring.samples import CPU
from harness.tasks.messages import CheckDone
from harness.training.step_memory import LiveBytes

# Classes of the networks that are built for a check, and of those whose size is measured.
FEW, MANY = 3, 21
# Steps in which a parameter has to get a gradient.
STEPS = 8
# What is measured is measured at this side, as `bench models` does.
SIDE = 512
# How far a prediction may move, as a share of the largest logit, where only the order of additions differs.
ROUNDING = 1e-3


class Remark(Exception):
    """The contract is kept, and this should be known."""


@dataclass(frozen=True)
class Subject:
    """A network that is checked."""

    make: Callable[[int], Any]
    """Builds it for a number of classes, with new weights."""
    stride: int
    size: tuple[int, int] | None = None
    """Height and width of its input, where it declares them."""

    def build(self, num_classes: int = FEW) -> nn.Module:
        """A new network.

        Raises:
            BadModel: it is none, or has nothing to train.
        """
        model = self.make(num_classes)
        if not isinstance(model, nn.Module):
            raise BadModel(f"build returned {type(model).__name__}, expected a torch.nn.Module")
        if not any(p.requires_grad for p in model.parameters()):
            raise BadModel("the network has no trainable parameter")
        return model

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of an input that is small, and large enough for a network of its stride."""
        return self.size or _at_least(max(2 * self.stride, 64), self.stride)

    def images(self, count: int, sides: Sequence[int] | None = None) -> Tensor:
        """A batch as training gives it: random numbers around 0."""
        return torch.randn(count, 3, *(sides or self.sides))


def outputs(model: nn.Module, x: Tensor, num_classes: int) -> list[Tensor]:
    """Everything a network returns in its present mode: the logits first, then the auxiliary ones.

    Raises:
        BadModel: the shapes are not those of the contract.
    """
    main, others = split_outputs(model(x), num_classes, x.shape[-2:])
    if len(main) != len(x):
        raise BadModel(f"forward returned logits of {len(main)} images for a batch of {len(x)}")
    return [main, *others]


def check_classes(subject: Subject) -> str:
    """Built for one class, for two and for many, it gives a logit for each of them."""
    counts = (1, 2, MANY)
    for count in counts:
        model = subject.build(count).eval()
        with torch.no_grad():
            outputs(model, subject.images(2), count)
    return f"logits for {', '.join(map(str, counts))} classes"


def check_sizes(subject: Subject) -> str:
    """Logits have the size of the image, at any multiple of the stride and after an odd image is padded to one."""
    model, stride = subject.build(), subject.stride
    side = _at_least(32, stride)[0]
    sizes = [(2 * side, 2 * side), (2 * side, 2 * side + stride), (5 * side, 2 * side)]
    odd = padded_to_stride(torch.zeros(1, 3, 2 * side + 1, 3 * side - 1), stride).shape[-2:]
    tried = list(dict.fromkeys([*([subject.size] if subject.size else []), *sizes, (odd[0], odd[1])]))
    for size in tried:
        try:
            for training in (True, False):
                outputs(model.train(training), subject.images(2, size), FEW)
        except Exception as error:
            at = f"at {size[0]}×{size[1]}"
            if subject.size is None:
                raise BadModel(f"{at}: {_told(error)}") from error
            if size == subject.size:
                raise
            raise Remark(f"works at its declared size; {at} it does not: {_told(error)}") from error
    return ", ".join(f"{height}×{width}" for height, width in tried)


def check_single_image(subject: Subject) -> str:
    """It predicts a single image, and can be trained on one."""
    model = subject.build()
    with torch.no_grad():
        outputs(model.eval(), subject.images(1), FEW)
    try:
        torch.stack([out.sum() for out in outputs(model.train(), subject.images(1), FEW)]).sum().backward()
    except ValueError as error:
        raise Remark(f"predicts one image, but cannot be trained on one: {_told(error)}") from error
    return "predicts one, and trains on one"


def check_modes(subject: Subject) -> str:
    """`train()` and `eval()` reach every part of it."""
    model = subject.build()
    left = [name or "the network" for name, part in model.eval().named_modules() if part.training]
    if left:
        raise BadModel(f"eval() leaves {', '.join(left[:3])} in training mode")
    left = [name or "the network" for name, part in model.train().named_modules() if not part.training]
    if left:
        raise Remark(f"train() leaves {', '.join(left[:3])} in evaluation mode")
    training = outputs(model, subject.images(2), FEW)
    with torch.no_grad():
        evaluating = outputs(model.eval(), subject.images(2), FEW)
    return f"{len(training) - 1} auxiliary outputs in training, {len(evaluating) - 1} in evaluation"


def check_gradients(subject: Subject) -> str:
    """Every trainable parameter gets a gradient, in one of a few steps.

    Scores that start at zero let nothing through at first, and stochastic depth leaves blocks out.
    """
    torch.manual_seed(0)
    model = subject.build()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer, without = torch.optim.SGD(trained.values(), lr=0.01), set(trained)
    for _ in range(STEPS):
        optimizer.zero_grad()
        found = outputs(model.train(), subject.images(2), FEW)
        torch.stack([(o * torch.randn_like(o)).sum() for o in found]).sum().backward()
        without -= {name for name, p in trained.items() if p.grad is not None and p.grad.any()}
        if not without:
            return f"all {len(trained)} trainable tensors get one"
        optimizer.step()
    names = [name for name in trained if name in without]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise BadModel(f"{', '.join(names[:3])}{more} never get a gradient")


def check_hidden_state(subject: Subject) -> str:
    """A prediction changes nothing, draws no random number, and depends on its own image alone."""
    torch.manual_seed(0)
    model = subject.build().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = subject.images(1), subject.images(1)
    state = torch.get_rng_state()
    with torch.no_grad():
        alone = outputs(model, first, FEW)[0]
        outputs(model, second, FEW)
        again = outputs(model, first, FEW)[0]
        together = outputs(model, torch.cat([first, second]), FEW)[0][:1]
    if not torch.equal(state, torch.get_rng_state()):
        raise BadModel("evaluation draws random numbers")
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    if moved:
        raise BadModel(f"evaluation changes {', '.join(moved[:3])}")
    if not torch.equal(alone, again):
        raise BadModel("the same image is predicted otherwise after another one")
    if _apart(alone, together) > ROUNDING:
        raise BadModel("an image is predicted otherwise when another is in its batch")
    return "predictions depend on their own image alone"


def check_weights(subject: Subject) -> str:
    """Saved and loaded weights predict the same bits: buffers and all, under the same names in every build."""
    torch.manual_seed(0)
    one, two = subject.build(), subject.build()
    for parameter in one.parameters():  # so that nothing, not even a score that starts at zero, is alike
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    x, file = subject.images(1), io.BytesIO()
    torch.save(one.state_dict(), file)
    size = file.tell()
    file.seek(0)
    with torch.no_grad():
        expected = outputs(one.eval(), x, FEW)[0]
        if torch.equal(expected, outputs(two.eval(), x, FEW)[0]):
            raise BadModel("two networks of different weights predict the same: the weights are not used")
        try:
            two.load_state_dict(torch.load(file, weights_only=True))
        except RuntimeError as error:
            raise BadModel(f"the weights of one build do not fit another: {_told(error)}") from error
        if not torch.equal(expected, outputs(two, x, FEW)[0]):
            raise BadModel("loaded weights predict something else: part of its state is in no parameter and no buffer")
    return f"{size / 1e6:.1f} MB of weights"


def check_half_precision(subject: Subject) -> str:
    """Mixed precision (bf16) gives finite logits close to those of fp32."""
    torch.manual_seed(0)
    model, x = subject.build().eval(), subject.images(2)
    with torch.no_grad():
        exact = outputs(model, x, FEW)[0]
        with autocast(CPU, "bf16"):
            half = outputs(model, x, FEW)[0].float()
    if not half.isfinite().all():
        raise BadModel("logits in bf16 are not finite")
    apart = _apart(exact, half)
    if apart > 0.2:
        raise Remark(f"logits in bf16 are {100 * apart:.0f} % of the largest away from those in fp32")
    return f"finite, and within {100 * apart:.1f} % of fp32"


def check_channels_last(subject: Subject) -> str:
    """The memory layout channels-last gives the same prediction."""
    torch.manual_seed(0)
    model, x = subject.build().eval(), subject.images(2)
    with torch.no_grad():
        usual = outputs(model, x, FEW)[0]
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        other = outputs(model, x.to(memory_format=torch.channels_last), FEW)[0]
    if _apart(usual, other) > ROUNDING:
        raise BadModel("another memory layout gives another prediction")
    return "the same prediction"


def check_repeatable(subject: Subject) -> str:
    """The same seed builds and trains the same network, bit for bit."""

    def trained() -> list[Tensor]:
        torch.manual_seed(0)
        model = subject.build()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
        torch.stack([out.square().mean() for out in outputs(model.train(), subject.images(2), FEW)]).sum().backward()
        optimizer.step()
        if hasattr(model, "after_step"):
            model.after_step()  # type: ignore[operator]
        return [value.clone() for value in model.state_dict().values()]

    one, two = trained(), trained()
    if len(one) != len(two) or not all(torch.equal(a, b) for a, b in zip(one, two, strict=True)):
        raise BadModel("the same seed trains another network: random numbers come from elsewhere than torch")
    return "the same bits twice"


def measure_cost(subject: Subject) -> str:
    """Parameters, operations, and time and memory of a prediction at 512 × 512."""
    model = subject.build(MANY).eval()
    x = subject.images(1, subject.size or _at_least(SIDE, subject.stride))
    counter, live = FlopCounterMode(display=False), LiveBytes()
    with torch.inference_mode():
        with counter:
            outputs(model, x, MANY)
        began = time.monotonic()
        outputs(model, x, MANY)
        seconds = time.monotonic() - began
        with live:
            outputs(model, x, MANY)
    parameters = sum(p.numel() for p in model.parameters())
    height, width = x.shape[-2:]
    return (
        f"{parameters / 1e6:.3g} M parameters; at {height}×{width}: {counter.get_total_flops() / 1e9:.3g} GFLOPs, "
        f"{seconds:.2g} s on one processor thread, {(live.peak + 4 * parameters) / 1e6:.0f} MB"
    )


@dataclass(frozen=True)
class Check:
    """One of the checks."""

    name: str
    """In plain words, what is tried."""
    run: Callable[[Subject], str]
    todo: str
    """What to do where it fails."""


CHECKS = (
    Check("number of classes", check_classes, "build(num_classes) decides the channels of the logits."),
    Check(
        "image sizes",
        check_sizes,
        "STRIDE is what height and width must be multiples of, SIZE the only size that works; resize the logits to the "
        "input's size.",
    ),
    Check("a single image", check_single_image, "Train with batches of two or more; prediction takes one at a time."),
    Check("train() and eval()", check_modes, "Where train is overridden, call super().train(mode) and return self."),
    Check(
        "gradients",
        check_gradients,
        "Remove what is not used, or set requires_grad to False on it; detach() and argmax let nothing through.",
    ),
    Check(
        "no hidden state",
        check_hidden_state,
        "Dropout and noise belong under `if self.training`; keep nothing of an image in the network.",
    ),
    Check(
        "save and load",
        check_weights,
        "Keep tensors as nn.Parameter, or by register_buffer, under names that are the same in each build.",
    ),
    Check("mixed precision", check_half_precision, "Use precision: fp32, or compute what overflows in float()."),
    Check("channels-last", check_channels_last, "Use reshape instead of view, or leave recipe.channels_last at false."),
    Check("repeats itself", check_repeatable, "Draw random numbers with torch alone, and keep none between builds."),
    Check("size and cost", measure_cost, "It must take an image of 512×512."),
)


def run_check(name: str, subject: Subject, source: str = "") -> CheckDone:
    """Do one check; whatever the network raises is its outcome.

    Args:
        name: of the check.
        subject: the network.
        source: the file whose lines its author can correct.
    """
    check = next(one for one in CHECKS if one.name == name)
    try:
        return CheckDone(name, "ok", check.run(subject), "")
    except Remark as remark:
        return CheckDone(name, "note", str(remark), check.todo)
    except Exception as error:  # noqa: BLE001 (a stranger's network may raise anything)
        return CheckDone(name, "failed", _told(error), f"{_place(error, source)}{check.todo}")


def _told(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, BadModel) and first else f"{type(error).__name__}: {first}".removesuffix(": ")


def _place(error: BaseException, source: str) -> str:
    """The last line of the author's own file on the way to an error."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if source and f.filename == source]
    return f"{source}:{frames[-1].lineno}: " if frames else ""


def _apart(one: Tensor, other: Tensor) -> float:
    """How far two predictions are apart, as a share of the largest logit."""
    return float((one - other).abs().max() / one.abs().max().clamp(min=1e-12))


def _at_least(side: int, stride: int) -> tuple[int, int]:
    rounded = -(-side // stride) * stride
    return rounded, rounded
