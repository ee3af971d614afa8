"""What a training writes for TensorBoard, read back as TensorBoard reads it."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_a_run_leaves_its_curves_and_sample_predictions(finished: Path) -> None:
    folders = sorted(finished.with_suffix(".artifacts").glob("*/tensorboard"))
    assert len(folders) == 8
    events = EventAccumulator(str(folders[0]))
    events.Reload()
    tags = events.Tags()
    assert {"training/lr", "training/train_loss", "validation/loss", "validation/miou"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("validation/miou")] == [1, 2]
    assert len(tags["images"]) == 3
    assert [image.step for image in events.Images(tags["images"][0])] == [1, 2]
    assert (events.Images(tags["images"][0])[0].width, events.Images(tags["images"][0])[0].height) == (
        96,
        32,
    )  # three pictures, each as large as the network's input
