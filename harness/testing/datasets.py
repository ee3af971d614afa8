"""The contract every data set keeps, as tests to inherit: for the project's own and for those of other packages.

Example, in a package's own tests, run by pytest:

    from harness.testing import DatasetContract
    from my_package.my_set import MySet

    class TestMySet(DatasetContract):
        dataset = MySet

        def make_copy(self, folder):
            ...  # write a few small images and masks in the data set's layout
            return folder
"""
# ruff: noqa: S101

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from harness.datasets import SPLITS, Dataset, manifest_of
from harness.datasets.checkup import check, check_lists
from harness.errors import DataError


class DatasetContract:
    """Inherit it, name the data set, say how a small copy of it is made, and run pytest."""

    dataset: type[Dataset]
    variants: tuple[str, ...] = ()
    """The variants that the small copy has the files of; none named: all of them."""
    groups_stay_together: bool = True
    """Whether no group (patient, sequence, city) has images in train and in what is chosen or scored on."""
    decoded: int = 3
    """How many samples of each split are decoded."""

    def make_copy(self, folder: Path) -> Path:
        """Make a small copy under an empty folder and return the copy's own; a data set that is generated makes it."""
        if not self.dataset.generated:
            raise NotImplementedError("write a small copy in the data set's layout, and return its folder")
        return self.dataset.obtain(folder, lambda line: None)

    def open_copy(self, root: Path, variant: str | None = None) -> Dataset:
        """Open a copy."""
        return self.dataset(root, variant)

    def every_variant(self, root: Path) -> Iterator[Dataset]:
        """The copy in each variant that it has the files of."""
        for variant in self.variants or tuple(self.dataset.info.variants):
            yield self.open_copy(root, variant)

    def test_what_it_says_of_itself_fits_together(self) -> None:
        """Names and colors for every class, labels that exist, a default variant."""
        info = self.dataset.info
        count = len(info.classes)
        assert count == len(set(info.classes)) == len(info.palette) <= info.ignore_index == 255
        assert all(len(color) == 3 and all(0 <= value <= 255 for value in color) for color in info.palette)
        assert info.background is None or 0 <= info.background < count
        assert info.foreground is None or (count == 2 and info.foreground in (0, 1))
        assert info.trimap in ("labels", "void")
        assert info.default_variant in info.variants
        assert all(info.variants.values()), "each variant has a line about it"

    def test_a_copy_is_found_in_its_folder_and_one_that_is_not_there_is_explained(self, tmp_path: Path) -> None:
        """The message says what was looked for, and what to do."""
        root = self.make_copy(tmp_path / "copy")
        assert self.dataset.find(root) == root.resolve()
        empty = tmp_path / "empty"
        assert self.dataset.find(empty) is None
        assert str(empty / self.dataset.folders[0]) in self.dataset.not_found(empty)
        assert self.dataset.how_to_get(empty)
        with pytest.raises(DataError, match="has no variant") as caught:
            self.open_copy(root, "no such variant")
        assert self.dataset.info.default_variant in str(caught.value)

    def test_no_image_is_in_two_splits_unless_val_is_the_test(self, tmp_path: Path) -> None:
        """Each id once; train apart; val and test apart, or the very same images, which `val_is_test` says."""
        for dataset in self.every_variant(self.make_copy(tmp_path)):
            train, val, test = (dataset.ids(split) for split in SPLITS)
            assert train
            assert test
            for ids in (train, val, test):
                assert len(ids) == len(set(ids))
                assert ids[:2] == dataset.ids(next(s for s in SPLITS if dataset.ids(s) == ids), 2)
            assert not set(train) & {*val, *test}
            both = set(val) & set(test)
            assert dataset.val_is_test == bool(both)
            assert not both or set(val) == set(test)

    def test_the_images_of_a_group_stay_in_one_split_or_the_checkup_tells(self, tmp_path: Path) -> None:
        """A patient seen in training makes a test easier: `bench check-data` warns where a data set does that."""
        for dataset in self.every_variant(self.make_copy(tmp_path)):
            groups = {split: {dataset.group(i) for i in dataset.ids(split)} for split in SPLITS}
            shared = groups["train"] & (groups["val"] | groups["test"])
            told = [finding for finding in check_lists(dataset) if finding.kind == "shared group"]
            assert bool(shared) == bool(told)
            assert not (shared and self.groups_stay_together), f"{sorted(shared)[:5]} are in train and elsewhere"

    def test_samples_are_images_with_masks_of_their_size_and_known_labels(self, tmp_path: Path) -> None:
        """What a network is trained on, and what is scored."""
        for dataset in self.every_variant(self.make_copy(tmp_path)):
            for image_id in self._some(dataset):
                sample = dataset.read(image_id)
                height, width = sample.mask.shape
                assert sample.image.shape == (height, width, 3)
                assert sample.image.dtype == np.uint8
                assert sample.mask.dtype == np.uint8
                labels = set(np.unique(sample.mask).tolist())
                assert labels <= {*range(len(dataset.info.classes)), dataset.info.ignore_index}
                if sample.valid is not None:
                    assert sample.valid.shape == (height, width)
                    assert sample.valid.dtype.kind == "b"

    def test_reading_twice_gives_the_same_whatever_was_done_to_the_first(self, tmp_path: Path) -> None:
        """The same ids in the same order, the same pixels, and the truth alone as in the whole sample."""
        root = self.make_copy(tmp_path)
        for one, two in zip(self.every_variant(root), self.every_variant(root), strict=True):
            assert [one.ids(split) for split in SPLITS] == [two.ids(split) for split in SPLITS]
            assert one.reading() == two.reading()
            for image_id in self._some(one):
                first = one.read(image_id)
                kept = first.image.copy(), first.mask.copy()
                for array in (first.image, first.mask):
                    if array.flags.writeable:
                        array[:] = 0
                mask, valid = one.truth(image_id)
                for again in (one.read(image_id), two.read(image_id)):
                    assert np.array_equal(again.image, kept[0])
                    assert np.array_equal(again.mask, kept[1])
                    assert np.array_equal(mask, kept[1])
                    assert np.array_equal(np.asarray(valid), np.asarray(again.valid))

    def test_the_manifest_is_that_of_the_files_and_not_of_their_place(self, tmp_path: Path) -> None:
        """The same twice and for a copy elsewhere; another one as soon as a file changes."""
        root = self.make_copy(tmp_path / "first")
        variant = (self.variants or (None,))[0]
        first = manifest_of(self.open_copy(root, variant))
        assert manifest_of(self.open_copy(root, variant)) == first
        moved = tmp_path / "second" / root.relative_to(tmp_path / "first")
        shutil.copytree(tmp_path / "first", tmp_path / "second")
        there = self.open_copy(moved, variant)
        assert manifest_of(there).hash == first.hash
        changed = there.files(there.ids("train")[0]).image
        with changed.open("ab") as file:
            file.write(b"\0")  # readers of images stop before it
        second = manifest_of(self.open_copy(moved, variant))
        assert second.hash != first.hash
        assert second.split_hash("test") == first.split_hash("test")

    def test_a_missing_and_a_broken_file_are_refused_by_name(self, tmp_path: Path) -> None:
        """One message, before anything is trained."""
        root = self.make_copy(tmp_path)
        dataset = self.open_copy(root, (self.variants or (None,))[0])
        broken, missing = dataset.files(dataset.ids("train")[0]).image, dataset.files(dataset.ids("test")[0]).mask
        broken.write_bytes(b"no image")
        missing.unlink()
        for path, read in ((broken, dataset.ids("train")[0]), (missing, dataset.ids("test")[0])):
            with pytest.raises(DataError) as caught:
                dataset.read(read)
            assert str(path) in caught.value.message
        with pytest.raises(DataError) as caught:
            manifest_of(dataset)
        assert str(broken) in caught.value.message
        assert str(missing) in caught.value.message

    def test_the_checkup_finds_no_error(self, tmp_path: Path) -> None:
        """What `bench check-data` looks for, in every file."""
        root = self.make_copy(tmp_path)
        found = check(self.open_copy(root, (self.variants or (None,))[0]))
        assert found.errors == []
        assert found.manifest is not None

    def test_a_file_for_the_test_server_keeps_every_class_apart(self, tmp_path: Path) -> None:
        """Written as PNG and read back; one file for each image, inside the folder that is uploaded."""
        dataset = self.open_copy(self.make_copy(tmp_path), (self.variants or (None,))[0])
        labels = np.arange(len(dataset.info.classes), dtype=np.uint8)[None].repeat(2, axis=0)
        names = []
        for image_id in dataset.ids("test"):
            name, image = dataset.server_file(image_id, labels)
            names.append(name)
        assert len(names) == len(set(names))
        place = PurePosixPath(names[0])
        assert place.suffix == ".png"
        assert not place.is_absolute()
        assert ".." not in place.parts
        file = io.BytesIO()
        image.save(file, format="PNG")
        with Image.open(file) as again:
            pixels = np.asarray(again).reshape(2, len(dataset.info.classes), -1)
        assert np.array_equal(pixels[0], pixels[1])
        assert len(np.unique(pixels[0], axis=0)) == len(dataset.info.classes)

    def _some(self, dataset: Dataset) -> list[str]:
        return list(dict.fromkeys(i for split in SPLITS for i in dataset.ids(split, self.decoded)))
