"""`bench score` of PASCAL VOC's val images against a script as a researcher writes it with torchmetrics and MONAI.

Both are commands that start, read two folders of PNGs, score, and write JSON; they take turns. The predictions are made
before: the truth moved by seven pixels to the right, void filled with background. What the script cannot compute with
its packages (Boundary IoU, boundary F-measure, trimap IoU), it leaves out; `bench score` has everything.

A second figure takes the start of both off: the time of one image is subtracted. A third is the processor time of both,
start included, which other work on the machine moves less.

    python benchmarks/end_to_end.py                    all images, three turns
    python benchmarks/end_to_end.py --script P T OUT   the script alone: predictions, targets, JSON

SEGBENCH_DATA names the folder with VOCdevkit; ../shared/data is looked at too. Without VOC, generated images are taken.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.history import Record, record

ROOT = Path(__file__).resolve().parents[1]
SHIFT = 7
# Largest difference of the data set's mIoU that the script's single precision explains.
TOLERANCE = 1e-5


def script(predictions: Path, targets: Path, classes: int, output: Path) -> None:
    """What a researcher writes: mIoU, accuracy and Dice by torchmetrics; HD95, ASSD and NSD by MONAI."""
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
    from PIL import Image

    from harness.utils.vision import import_torchvision

    import_torchvision()  # torchmetrics imports torchvision
    from torchmetrics import MetricCollection
    from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

    options: dict[str, Any] = {"num_classes": classes, "ignore_index": 255}
    region = MetricCollection(
        {
            "miou": MulticlassJaccardIndex(**options),
            "pa": MulticlassAccuracy(**options, average="micro"),
            "dice": MulticlassF1Score(**options, average="macro"),
        }
    )
    distances: dict[str, list[Any]] = {"hd": [], "hd95": [], "assd": [], "nsd": []}
    for path in sorted(targets.glob("*.png")):
        target = torch.from_numpy(np.array(Image.open(path))).long()
        prediction = torch.from_numpy(np.array(Image.open(predictions / path.name))).long()
        region.update(prediction[None], target[None])
        known = target != 255
        present = [c for c in torch.unique(target[known]).tolist() if c != 0]
        if not present:
            continue
        p = torch.stack([(prediction == c) & known for c in present])[None]
        t = torch.stack([target == c for c in present])[None]
        of = {"y_pred": p, "y": t, "include_background": True}
        distances["hd"] += compute_hausdorff_distance(**of)[0].tolist()
        distances["hd95"] += compute_hausdorff_distance(**of, percentile=95)[0].tolist()
        distances["assd"] += compute_average_surface_distance(**of, symmetric=True)[0].tolist()
        distances["nsd"] += compute_surface_dice(**of, class_thresholds=[2.0] * len(present))[0].tolist()
    means = {name: float(np.nanmean(np.where(np.isinf(found), np.nan, found))) for name, found in distances.items()}
    output.write_text(json.dumps({name: float(value) for name, value in region.compute().items()} | means))


def folders(home: Path, count: int | None) -> tuple[Path, Path, int, str, int]:
    """Predictions and targets as PNGs with bare ids: their folders, how many classes, the data set's name, how many."""
    from harness.datasets import open_dataset
    from harness.datasets.palette import save_labels
    from harness.utils.environment import setting

    given = [setting("SEGBENCH_DATA"), str(ROOT.parent / "shared" / "data")]
    found = [Path(p) for p in given if p and (Path(p) / "VOCdevkit").is_dir()]
    dataset = open_dataset("voc", "official", found[0]) if found else open_dataset("shapes", None, home / "data")
    ids = dataset.ids("test")[:count]
    predictions, targets = home / "predictions", home / "targets"
    for folder in (predictions, targets):
        folder.mkdir()
    for number, image_id in enumerate(ids):
        labels, _ = dataset.truth(image_id)
        moved = np.roll(labels, SHIFT, axis=1)
        save_labels(predictions / f"{number}.png", np.where(moved == 255, 0, moved), dataset.info.palette)
        save_labels(targets / f"{number}.png", labels, dataset.info.palette)
    return predictions, targets, len(dataset.info.classes), dataset.info.title, len(ids)


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds by the clock, and of the processors, its children's included."""

    clock: float
    processor: float


def ours(predictions: Path, targets: Path, classes: int, output: Path) -> Spent:
    """Run `bench score`."""
    folder = ["--predictions", str(predictions), "--targets", str(targets)]
    return run([sys.executable, "-m", "bench", "score", *folder, "--num-classes", str(classes), "--json", str(output)])


def theirs(predictions: Path, targets: Path, classes: int, output: Path) -> Spent:
    """Run the script."""
    arguments = [str(predictions), str(targets), str(output), "--classes", str(classes)]
    return run([sys.executable, "-W", "ignore", "-m", "benchmarks.end_to_end", "--script", *arguments])


def run(command: list[str]) -> Spent:
    """Run a command that has to succeed."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    spent = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:4])} ended with {done.returncode}: {done.stderr[-800:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(spent, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def records(quick: bool) -> list[Record]:
    """Both commands in turns, on all images and, if not quick, on one.

    Raises:
        SystemExit: a command failed, or their mIoU differs.
    """
    repetitions = 1 if quick else 3
    with tempfile.TemporaryDirectory(prefix="segbench-end-to-end-") as name:
        home = Path(name)
        predictions, targets, classes, title, count = folders(home, 16 if quick else None)
        single = home / "single predictions", home / "single targets"
        for folder, source in zip(single, (predictions, targets), strict=True):
            folder.mkdir()
            (folder / "0.png").write_bytes((source / "0.png").read_bytes())
        # The first calls are not timed: kernels are compiled, and packages read from disk.
        outputs = home / "ours.json", home / "theirs.json"
        ours(*single, classes, outputs[0])
        if not quick:
            theirs(*single, classes, outputs[1])
        spent: dict[str, list[Spent]] = {"ours": [], "theirs": [], "our start": [], "their start": []}
        for turn in range(repetitions):
            works = [
                ("theirs", theirs, predictions, targets, outputs[1]), ("ours", ours, predictions, targets, outputs[0]),
                ("their start", theirs, *single, home / "x.json"), ("our start", ours, *single, home / "x.json"),
            ][: 2 if quick else 4]  # fmt: skip
            for what, command, p, t, output in works if turn % 2 == 0 else works[::-1]:
                spent[what].append(command(p, t, classes, output))
        same_figures(*(json.loads(output.read_text()) for output in outputs))
    what = f"{count} images of {title} scored, PNGs decoded"
    peer = "a script with torchmetrics and MONAI"
    clock, processor = (
        [[getattr(one, kind) for one in spent[who]] for who in ("ours", "theirs")] for kind in ("clock", "processor")
    )
    found = [
        record("end_to_end.command", what, peer, "s", *clock),
        record("end_to_end.processor", f"{what}: processor time", peer, "s", *processor),
    ]
    if not quick:
        without = [
            [max(1e-3, a.clock - b.clock) for a, b in zip(spent[whole], spent[start], strict=True)]
            for whole, start in (("ours", "our start"), ("theirs", "their start"))
        ]
        found.append(record("end_to_end.images", f"{what}, without the start", peer, "s", *without))
    return found


def same_figures(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Both score the same: their mIoU, accuracy and Dice agree.

    Raises:
        SystemExit: they do not.
    """
    for name in ("miou", "pa", "dice"):
        if abs(ours[name] - theirs[name]) > TOLERANCE:
            raise SystemExit(f"{name}: `bench score` gives {ours[name]}, the script {theirs[name]}")


def main() -> None:
    """Print the comparison; with --script, be the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", nargs=3, type=Path, metavar=("P", "T", "OUT"))
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="16 images, one turn")
    asked = parser.parse_args()
    if asked.script:
        predictions, targets, output = asked.script
        script(predictions, targets, asked.classes, output)
        return
    from rich.console import Console

    from benchmarks.run import show

    show(records(asked.quick), Console(width=150))


if __name__ == "__main__":
    main()
