"""Recipe: how to train and how to predict."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from harness.augmentations import AUGMENTATIONS, Augmentation
from harness.losses import Loss
from harness.optim.optimizers import OPTIMIZERS, Optimizer
from harness.optim.optimizers.adamw import AdamW
from harness.optim.schedules import SCHEDULES, Schedule
from harness.optim.schedules.constant import Constant
from harness.utils.normalization import BLACK, Color, Normalization, mean_color
from harness.utils.options import ByName, Positive, Strict


class Crf(Strict):
    """The fully connected CRF on the network's probabilities (Krähenbühl and Koltun, NIPS 2011, equation 3).

    Neighbors that look alike pull each other to one label. The defaults are those DeepLab v2 used with ResNet-101 on
    VOC; distances are in pixels of the original image.
    """

    iterations: int = Field(10, gt=0)
    """Steps of mean-field inference."""
    appearance_weight: float = Field(4, ge=0)
    """How strongly pixels of similar place and color pull."""
    appearance_distance: Positive = 67
    """Standard deviation of the distance within which they do."""
    appearance_color: Positive = 3
    """Standard deviation of the difference in red, green and blue, of 255."""
    smoothness_weight: float = Field(3, ge=0)
    """How strongly near pixels pull, whatever their color."""
    smoothness_distance: Positive = 1
    """Standard deviation of their distance."""


class Predict(Strict):
    """How label maps are made. They always come out at the image's original resolution."""

    mode: Literal["resize", "letterbox", "whole", "slide"] = "resize"
    """`resize`: the image at the recipe's size, the logits resized back. `letterbox`: the same after padding it to
    the size's proportions, which is cut away again. `whole`: as it is, padded to the network's stride and cut
    back. `slide`: windows of the recipe's size, evenly spaced, joined where they overlap."""
    short_side: int | None = Field(None, gt=0)
    long_side: int | None = Field(None, gt=0)
    """whole and slide: the pixels that the image's shorter or longer side is resized to before; the logits are resized
    back. None: the image as it is."""
    overlap: float = Field(1 / 3, ge=0, lt=1)
    """slide: the least share of a window that its neighbour covers as well."""
    blend: Literal["mean", "gaussian"] = "mean"
    """slide: how overlapping windows are joined; `gaussian` trusts their centres more."""
    scales: tuple[Positive, ...] = Field((1.0,), min_length=1)
    """Test-time augmentation: probabilities averaged over these sizes of the image."""
    flip: bool = False
    """Test-time augmentation: and over its mirror image."""
    loss_batch: int | None = Field(None, gt=0)
    """Keep the loss of each batch of so many images of a scored split, in order, on the network's own input; None: no
    such loss. Images and masks are resized (letterbox: padded first) as for training."""
    crf: Crf | None = None
    """A CRF that refines the probabilities, after all of this; `{}` for its defaults. Needs the extra `crf`."""

    @model_validator(mode="after")
    def _one_side(self) -> Predict:
        given = [name for name in ("short_side", "long_side") if getattr(self, name) is not None]
        if len(given) == 2:
            raise ValueError("give one of short_side and long_side")
        if given and self.mode in ("resize", "letterbox"):
            raise ValueError(f"{given[0]}: the mode {self.mode} resizes to the recipe's size; use whole or slide")
        return self

    def shown_size(self, height: int, width: int) -> tuple[int, int]:
        """What whole and slide resize an image to, scales left out."""
        side = self.short_side or self.long_side
        if side is None:
            return height, width
        factor = side / (min(height, width) if self.short_side else max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    @property
    def keeps_size(self) -> bool:
        """Whether networks see images at their own resolution, and nothing is resized back."""
        resized = self.mode in ("resize", "letterbox") or self.short_side or self.long_side
        return not resized and set(self.scales) == {1.0}

    @property
    def augmented(self) -> bool:
        """Whether an image is predicted more than once."""
        return self.flip or self.scales != (1.0,)

    @model_validator(mode="after")
    def _batches_of_one_size(self) -> Predict:
        if self.loss_batch is not None and self.mode not in ("resize", "letterbox"):
            raise ValueError("loss_batch: images make a batch in the modes resize and letterbox only")
        return self


class EarlyStop(Strict):
    """End a training that no longer improves."""

    patience: int = Field(gt=0)
    """Validations without a better score of the selection's metric."""


class Recipe(Strict):
    """How to train and to predict."""

    name: str = "inline"
    """What it is called; not part of the fingerprint."""
    description: str = ""
    size: tuple[int, int] = (512, 512)
    """Height and width of the training input."""
    epochs: int | None = Field(None, gt=0)
    iterations: int | None = Field(None, gt=0)
    """The length: exactly one of `epochs` and `iterations`."""
    batch_size: int = Field(8, gt=0)
    optimizer: Annotated[Optimizer, ByName(OPTIMIZERS, Optimizer, default="adamw")] = AdamW()
    schedule: Annotated[Schedule, ByName(SCHEDULES, Schedule, default="constant")] = Constant()
    loss: Loss = Loss()
    augment: tuple[Annotated[Augmentation, ByName(AUGMENTATIONS, Augmentation, key="op")], ...] = ()
    normalize: Normalization = "imagenet"
    """`imagenet`: ImageNet's mean and deviation. `unit`: values in [0, 1]. `symmetric`: values in [-1, 1]."""
    pad: Literal["black", "mean"] = "black"
    """What is around an image that is too small, or was rotated, in training and in prediction. `mean`: what
    normalization brings to 0, rounded to whole numbers of 255. Up to a network's stride it always is 0."""
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    """`auto`: the fastest safe one on the machine that plans, by measurement; the job has what was found."""
    grad_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; None does not clip."""
    accumulate: int = Field(1, gt=0)
    """Parts a batch is computed in, one after another, where it does not fit into memory at once. Each of several
    processes computes its share in as many, but in no more than the smallest share has images."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, taken each iteration, which is what is scored; None: none."""
    early_stop: EarlyStop | None = None
    sampling: Literal["uniform", "class_balanced"] = "uniform"
    """`class_balanced`: images are drawn with replacement, those of rare classes more often."""
    channels_last: bool | Literal["auto"] = False
    """Memory layout that is faster on recent GPUs and processors. `auto`: where that was measured."""
    compile: bool = False
    """torch.compile the network for training."""
    deterministic: bool = False
    """Refuse operations without a deterministic implementation, on a GPU too."""
    val_every: int = Field(1, gt=0)
    """Epochs between validations; the last epoch is always validated."""
    predict: Predict = Predict()
    checkpoint_every: int | None = Field(None, gt=0)
    """Keep the weights after every so many epochs, among the run's files; None: only those of the best and the last
    epoch. It moves nothing that is computed, and is not part of the fingerprint."""

    @property
    def fill(self) -> Color:
        """The color of padding."""
        return BLACK if self.pad == "black" else mean_color(self.normalize)

    @property
    def at_once(self) -> int:
        """Images that are computed together: a batch, or a part of it."""
        return math.ceil(self.batch_size / self.accumulate)

    def parts(self, batch: int, processes: int) -> int:
        """In how many parts each process computes its share of a batch of so many images: as many as the others."""
        return max(1, min(self.accumulate, batch // processes))

    @model_validator(mode="after")
    def _one_length(self) -> Recipe:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give exactly one of epochs and iterations")
        if min(self.size) < 8:
            raise ValueError("size: at least 8 × 8")
        if self.accumulate > self.batch_size:
            raise ValueError("accumulate: a batch cannot be split into more parts than it has images")
        return self


def choice(field: FieldInfo) -> ByName[Any] | None:
    """The kinds among which a field's name chooses; None where a field has no kinds."""
    return next((mark for mark in field.metadata if isinstance(mark, ByName)), None)


def carried_over(field: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Of a recipe's field, what goes with its new content: a new optimizer leaves behind what only the old one has."""
    kinds = choice(Recipe.model_fields[field]) if field in Recipe.model_fields else None
    return dict(old) if kinds is None else kinds.carried_over(old, new)


def recipe_paths(record: type[BaseModel] = Recipe, above: str = "", own: bool = False) -> Iterator[str]:
    """Every field that can be set by itself, dotted: `optimizer.momentum` is there as any optimizer has it.

    Args:
        record: where the fields are.
        above: what goes before their names.
        own: without those of other packages' parts that nobody has asked for: nothing of them is imported.
    """
    for name, field in record.model_fields.items():
        path = f"{above}{name}"
        yield path
        kinds, inner = choice(field), _record(field.annotation)
        if kinds is not None:
            yield from (f"{path}.{option}" for option in sorted(kinds.fields(own)))
        elif inner is not None:
            yield from recipe_paths(inner, f"{path}.", own)


def _record(annotation: Any) -> type[BaseModel] | None:
    """The record that a field holds, whether it may be None or not."""
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)
