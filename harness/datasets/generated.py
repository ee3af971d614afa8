"""Data sets whose images are made here, by a program, the first time a run needs them."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from harness.datasets.base import Dataset, Say, Tick
from harness.utils.files import new_folder


class GeneratedDataset(Dataset):
    """A data set that `write` makes; its copy always stands in ./data.

    The same code must write the same files: their hashes are part of every fingerprint. What would write others belongs
    into another folder, so that a copy made before is not taken for it.
    """

    generated = True

    @classmethod
    @abstractmethod
    def write(cls, root: Path) -> None:
        """Write every file of a copy below an empty folder."""

    @classmethod
    def how_to_get(cls, data_dir: Path) -> str:
        """It is made here."""
        return f"It is made by the first run that needs it: bench run --datasets {cls.info.name} …"

    @classmethod
    def obtain(cls, data_dir: Path, say: Say, tick: Tick | None = None) -> Path:
        """Write a copy into a folder beside its place, then move it there in one step."""
        target = data_dir / cls.folders[0]
        say(f"Making {cls.info.title} in {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with new_folder(target) as new:
                cls.write(new)
        except OSError:
            # Where another process was first, its copy is the same.
            if cls.find(data_dir) is None:
                raise
        return target.resolve()
