"""Recipe: how to train and how to predict."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Strict(BaseModel):
    """A frozen record without unknown fields; a mistyped name is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimizer(Strict):
    """The optimizer and its step size."""

    name: Literal["sgd", "adam", "adamw", "rmsprop"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD and RMSprop."""
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Adam and AdamW."""
    eps: Positive = 1e-8
    alpha: Fraction = 0.99
    """RMSprop."""
    head_lr_factor: Positive = 1.0
    """The learning rate of everything but the backbone, as a multiple of `lr`."""
    decay_norm_and_bias: bool = True
    """False exempts biases and normalisation layers from weight decay."""


class Schedule(Strict):
    """How the learning rate changes."""

    name: Literal["constant", "poly", "cosine", "step"] = "constant"
    per: Literal["iteration", "epoch"] = "iteration"
    """Whether the rate changes with every iteration or once an epoch."""
    power: Positive = 0.9
    """poly: (1 - t/T)^power."""
    min_lr: float = Field(0.0, ge=0)
    every: int = Field(30, gt=0)
    """step: the number of `per` units after which the rate is multiplied by `gamma`."""
    gamma: Fraction = 0.1
    warmup: int = Field(0, ge=0)
    """Iterations of linear warm-up from 0."""

    @property
    def depends_on_length(self) -> bool:
        """Whether the rate at a given moment depends on how long the training is to be."""
        return self.name in ("poly", "cosine")


class LossTerm(Strict):
    """One term of the loss."""

    name: Literal["ce", "bce", "dice", "focal", "lovasz", "ohem"] = "ce"
    weight: Positive = 1.0
    gamma: float = Field(2.0, ge=0)
    """focal: the focusing exponent."""
    threshold: Fraction = 0.7
    """ohem: pixels whose truth is less probable than this are hard."""
    keep: Fraction = 1 / 16
    """ohem: the share of the pixels that counts at least."""


class Loss(Strict):
    """A weighted sum of terms; void pixels never count."""

    terms: tuple[LossTerm, ...] = (LossTerm(),)
    aux_weight: float = Field(0.4, ge=0)
    """Weight of every auxiliary output."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        """`loss: ce` is short for one term of weight 1; `loss: [ce, dice]` for several."""
        if isinstance(data, str):
            data = [data]
        if isinstance(data, list):
            return {"terms": [{"name": t} if isinstance(t, str) else t for t in data]}
        return data

    @property
    def binary(self) -> bool:
        """Whether the loss works on one sigmoid channel."""
        return any(term.name == "bce" for term in self.terms)

    @model_validator(mode="after")
    def _one_kind(self) -> Loss:
        if not self.terms:
            raise ValueError("a loss needs at least one term")
        if self.binary and any(term.name in ("ce", "focal", "ohem") for term in self.terms):
            raise ValueError("bce works on one sigmoid channel and cannot be summed with ce, focal or ohem")
        return self


class Flip(Strict):
    """Mirror left and right."""

    op: Literal["hflip"]
    p: Fraction = 0.5


class Rotate(Strict):
    """Rotate by an angle drawn from ±degrees; new corners are black and void."""

    op: Literal["rotate"]
    degrees: float = Field(10.0, ge=0, le=180)
    p: Fraction = 1.0


class ColorJitter(Strict):
    """Change brightness, contrast, saturation and hue."""

    op: Literal["color_jitter"]
    brightness: float = Field(0.2, ge=0)
    contrast: float = Field(0.2, ge=0)
    saturation: float = Field(0.2, ge=0)
    hue: float = Field(0.1, ge=0, le=0.5)
    p: Fraction = 1.0


class Blur(Strict):
    """Gaussian blur."""

    op: Literal["blur"]
    kernel: int = Field(3, gt=0)
    sigma: tuple[Positive, Positive] = (0.1, 2.0)
    p: Fraction = 0.5


class RandomResizedCrop(Strict):
    """Cut a random part and resize it to the recipe's size."""

    op: Literal["random_resized_crop"]
    scale: tuple[Positive, Positive] = (0.7, 1.0)
    ratio: tuple[Positive, Positive] = (0.9, 1.1)


class VerticalFlip(Strict):
    """Mirror top and bottom."""

    op: Literal["vflip"]
    p: Fraction = 0.5


class Photometric(Strict):
    """Change brightness, contrast, saturation and hue, each with a chance of `p` (the distortion of SSD)."""

    op: Literal["photometric"]
    brightness: tuple[Positive, Positive] = (0.875, 1.125)
    contrast: tuple[Positive, Positive] = (0.5, 1.5)
    saturation: tuple[Positive, Positive] = (0.5, 1.5)
    hue: tuple[float, float] = (-0.05, 0.05)
    p: Fraction = 0.5


class ScaleCrop(Strict):
    """Resize by a random factor, pad with black and void where too small, cut the recipe's size at random."""

    op: Literal["scale_crop"]
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    short_side: tuple[int, int] | None = None
    """Instead of `scale`: the pixels that the shorter side is resized to."""
    max_share: Positive = Field(1.0, le=1)
    """Cuts are drawn anew, up to ten times, while one class has more than this share of the pixels that count."""


class ScaleJitter(Strict):
    """As scale_crop, but the factor is relative to the one at which the image just fits into the recipe's size."""

    op: Literal["scale_jitter"]
    scale: tuple[Positive, Positive] = (0.1, 2.0)
    max_share: Positive = Field(1.0, le=1)


class Letterbox(Strict):
    """Pad with black and void, evenly on both sides, to the proportions of the recipe's size."""

    op: Literal["letterbox"]


Augmentation = Annotated[
    Flip
    | VerticalFlip
    | Rotate
    | ColorJitter
    | Photometric
    | Blur
    | RandomResizedCrop
    | ScaleCrop
    | ScaleJitter
    | Letterbox,
    Field(discriminator="op"),
]


class Predict(Strict):
    """How label maps are made. They always come out at the image's original resolution."""

    mode: Literal["resize", "letterbox", "whole", "slide"] = "resize"
    """`resize`: the image at the recipe's size, the logits resized back. `letterbox`: the same after padding it with
    black to the size's proportions, which is cut away again. `whole`: as it is, padded to the network's stride and cut
    back. `slide`: windows of the recipe's size, evenly spaced, joined where they overlap."""
    overlap: float = Field(1 / 3, ge=0, lt=1)
    """slide: the least share of a window that its neighbour covers as well."""
    blend: Literal["mean", "gaussian"] = "mean"
    """slide: how overlapping windows are joined; `gaussian` trusts their centres more."""
    scales: tuple[Positive, ...] = Field((1.0,), min_length=1)
    """Test-time augmentation: probabilities averaged over these sizes of the image."""
    flip: bool = False
    """Test-time augmentation: and over its mirror image."""

    @property
    def augmented(self) -> bool:
        """Whether an image is predicted more than once."""
        return self.flip or self.scales != (1.0,)


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
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    augment: tuple[Augmentation, ...] = ()
    normalize: Literal["imagenet", "unit"] = "imagenet"
    """`imagenet`: ImageNet's mean and deviation. `unit`: values in [0, 1]."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    grad_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; None does not clip."""
    accumulate: int = Field(1, gt=0)
    """Parts a batch is computed in, one after another, where it does not fit into memory at once."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, taken each iteration, which is what is scored; None: none."""
    early_stop: EarlyStop | None = None
    sampling: Literal["uniform", "class_balanced"] = "uniform"
    """`class_balanced`: images are drawn with replacement, those of rare classes more often."""
    channels_last: bool = False
    """Memory layout that is faster on recent GPUs."""
    compile: bool = False
    """torch.compile the network for training."""
    deterministic: bool = False
    """Refuse operations without a deterministic implementation, on a GPU too."""
    val_every: int = Field(1, gt=0)
    """Epochs between validations; the last epoch is always validated."""
    predict: Predict = Predict()

    @model_validator(mode="after")
    def _one_length(self) -> Recipe:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give exactly one of epochs and iterations")
        if min(self.size) < 8:
            raise ValueError("size: at least 8 × 8")
        if self.accumulate > self.batch_size:
            raise ValueError("accumulate: a batch cannot have more parts than images")
        return self
