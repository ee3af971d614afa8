"""The ceiling of a resolution: what a network scores that is perfect at its input size.

The truth is brought to the size that the network sees as training targets are, by nearest neighbour at the centres of
pixels, and made logits; the code that brings any network's logits back makes label maps of them, and the evaluator
scores these under the job's protocol. What is missing to 1 is what resolution alone costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.config.fingerprint import TRAINING_VERSION, digest
from harness.config.job import Job
from harness.config.recipe import Predict, Recipe
from harness.datasets.base import Dataset
from harness.metrics.boundary import NO_CLASS, fill_void
from harness.scoring.evaluate import Predicted, evaluate_images, pick
from harness.scoring.predict import label_map, predict_image
from harness.utils.images import resize_mask
from harness.utils.json_cache import JsonCache

SPLIT = "test"
# What two processor cores do in some ten seconds: the ceiling is told before a run where it has no more pixels.
QUICK_PIXELS = 20_000_000
BOUNDARY = "biou"
# The logit of a pixel's class, of others 0: a softmax is sure to seven digits. A power of 2, which rounds nothing.
CERTAIN = 16.0


def ceiling(job: Job, dataset: Dataset, manifest: str, threads: int = 1) -> dict[str, Any]:
    """The ceiling of a job on the test images; kept in the machine's cache for every job of the same setting.

    Args:
        job: recipe, protocol and how many images are scored.
        dataset: the copy.
        manifest: names the copy's files and what is scored of them.
        threads: images scored at once.

    Returns:
        `input`: the size that a network sees, and how, in words. `scores`: the data set's headline metric and Boundary
        IoU, each as on the boards; None where undefined.
    """
    cache, key = JsonCache("ceilings.json"), ceiling_key(job, manifest)
    if key not in cache:
        cache.put(key, _scores(job, dataset, threads))
        cache.save()
    return {"input": input_text(job.recipe), "scores": cache.get(key)}


def input_text(recipe: Recipe) -> str:
    """The size at which a network sees the images of a recipe, height first, and how: `256×256 (letterbox)`."""
    how, size = recipe.predict, "×".join(map(str, recipe.size))
    side = how.short_side or how.long_side
    shown = "the image's own size" if side is None else f"a {'short' if how.short_side else 'long'} side of {side}"
    told: list[str] = [how.mode]
    if how.mode == "slide":
        told.append(f"windows of {size}")
    if set(how.scales) != {1.0}:
        told.append(f"scales {', '.join(f'{scale:g}' for scale in how.scales)}")
    if how.flip:
        told.append("flip")
    return f"{size if how.mode in ('resize', 'letterbox') else shown} ({'; '.join(told)})"


def takes_seconds(job: Job, dataset: Dataset, manifest: str) -> bool:
    """Whether `ceiling` knows it, or has only some million pixels to predict, were all images as large as the first."""
    ids, how = dataset.ids(SPLIT, job.images), job.recipe.predict
    if not ids or _is_one(job) or ceiling_key(job, manifest) in JsonCache("ceilings.json"):
        return True
    times = len(how.scales) * (2 if how.flip else 1)
    return len(ids) * times * dataset.truth(ids[0])[0].size <= QUICK_PIXELS


def ceiling_key(job: Job, manifest: str) -> str:
    """A hash over everything that decides the ceiling."""
    return digest(
        {
            "data": manifest,
            "size": job.recipe.size,
            # A CRF sharpens by colour what was lost, and is no matter of resolution; batches of a loss move nothing.
            "predict": job.recipe.predict.model_dump(mode="json", exclude={"crf", "loss_batch"}),
            "protocol": job.protocol_hash,  # with the evaluator's version and the number of images
            "training_version": TRAINING_VERSION,
        }
    )


def _is_one(job: Job) -> bool:
    """Whether the ceiling is 1 because nothing is resized; absent classes that count 0 are in the way of that."""
    return job.recipe.predict.keeps_size and job.protocol.absent != "zero"


def _scores(job: Job, dataset: Dataset, threads: int) -> dict[str, float | None]:
    info, headline = dataset.info, dataset.info.headline
    if _is_one(job):
        return {headline: 1.0, BOUNDARY: 1.0}
    ids = dataset.ids(SPLIT, job.images)
    found = evaluate_images(dataset, job.protocol, _perfect(dataset, ids, job.recipe), threads).compute()
    return {name: pick(found, name, info) for name in (headline, BOUNDARY)}


def _perfect(dataset: Dataset, ids: Iterable[str], recipe: Recipe) -> Iterator[Predicted]:
    for image_id in ids:
        mask, _ = dataset.truth(image_id)
        yield Predicted(image_id, perfect_labels(mask, dataset.info.ignore_index, recipe.size, recipe.predict))


@torch.inference_mode()
def perfect_labels(mask: NDArray[np.uint8], void: int, size: tuple[int, int], how: Predict) -> NDArray[np.uint8]:
    """What a network predicts, at the image's resolution, whose logits at its input size are the truth's labels.

    Where the truth is void a network may predict anything. This one predicts the nearest label of the truth, as the
    protocol's `void: fill` has it: so what is not scored takes nothing from scored pixels where logits are resized
    back, and at the image's own size the prediction is right everywhere. Of black padding it is sure of nothing.

    Args:
        mask: (H, W) the truth.
        void: its label for void.
        size: the recipe's.
        how: modes, sides, scales and mirror images; without its CRF.

    Returns:
        (H, W) labels.
    """
    labels = np.setdiff1d(mask, [void])
    if len(labels) < 2:
        return np.full_like(mask, labels[0] if len(labels) else 0)
    filled = np.where(mask == void, NO_CLASS, mask.astype(np.int32))
    fill_void(filled, np.ones(mask.shape, dtype=bool), sum(mask.shape))
    # As an image of one channel: labels begin at 1, as images are padded with 0.
    target = torch.from_numpy(np.searchsorted(labels, filled).astype(np.uint8) + 1)[None]
    each = torch.arange(1, len(labels) + 1).view(-1, 1, 1)
    logits = predict_image(lambda shown: (shown == each) * CERTAIN, target, size, how, fill=(0,), resize=resize_mask)
    predicted: NDArray[np.uint8] = labels[label_map(logits).numpy()]
    return predicted
