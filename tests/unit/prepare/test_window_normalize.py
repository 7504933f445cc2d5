"""Whole volumes as a network sees them, with their labels beside them."""

import os
import shutil

import numpy as np
import pytest

from renal.errors import InputError
from renal.handover.prepared import image_file, label_file, read_images, read_index, read_labels
from renal.prepare.intensity import normalize
from renal.prepare.window_normalize import window_normalize

from .helpers import INTENSITY, LABELLED, NAMES, names


def test_normalised_images_come_with_the_labels_linked(resampled, tmp_path):
    folder = tmp_path / "normalized"
    label_file(folder, LABELLED[0], 0).parent.mkdir()
    label_file(folder, LABELLED[0], 0).write_bytes(b"left by a run on other labels")
    for _ in range(2):  # a second run finds the links of the first
        window_normalize(resampled, INTENSITY, folder, threads=2)
    assert names(folder) == names(resampled)
    assert read_index(folder) == read_index(resampled)
    for prepared in read_index(folder).values():
        (image,), (before,) = read_images(folder, prepared), read_images(resampled, prepared)
        assert image.dtype == np.float16
        np.testing.assert_array_equal(image, normalize(before, INTENSITY))
    for name in LABELLED:
        label = f"{name}.0.label.npy"
        assert (folder / label).samefile(resampled / label)


def test_where_there_are_no_hard_links_labels_are_copied(resampled, tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    folder = tmp_path / "normalized"
    for _ in range(2):
        window_normalize(resampled, INTENSITY, folder)
        assert names(folder) == names(resampled)
        for prepared in list(read_index(folder).values())[: len(LABELLED)]:
            (label,), (before,) = read_labels(folder, prepared), read_labels(resampled, prepared)
            assert label.dtype == np.uint8
            np.testing.assert_array_equal(label, before)
            assert not os.path.samefile(label.filename, before.filename)


def test_an_image_gone_from_the_source_names_the_folder_to_delete(resampled, tmp_path):
    folder = shutil.copytree(resampled, tmp_path / "resampled")
    image_file(folder, NAMES[0], 0).unlink()
    with pytest.raises(InputError, match=f"delete the folder {folder}"):
        window_normalize(folder, INTENSITY, tmp_path / "normalized")
