"""What reading takes of memory is bounded by the size of the file and the shape of the volume."""

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from renal.errors import InputError
from renal.image.volume import read_header, read_label, read_volume, write_nifti


def promising(path, packed, shape=(512, 512, 400)):
    """A file whose header promises a volume, here 210 MB, with `packed` bytes."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    start = header.binaryblock + bytes(4)
    path.write_bytes(gzip.compress(start) + bytes(packed))
    return read_header(path)


def test_an_image_that_unpacks_to_far_more_than_a_ct_is_refused_before_memory_is_taken(tmp_path):
    bomb = promising(tmp_path / "ct.nii.gz", 2_200_000, shape=(512, 512, 600))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"ct.nii.gz: 2.2 MB that unpack to 315, over 50") as told:
        read_volume(bomb)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("packed", "shape"), [(5_000_000, (512, 512, 400)), (1000, (512, 512, 380))]
)
def test_what_a_ct_may_unpack_to_is_read_and_a_label_is_whatever_it_unpacks_to(
    tmp_path, packed, shape
):
    header = promising(tmp_path / "ct.nii.gz", packed, shape)
    with pytest.raises(InputError, match="damaged"):  # read until its end
        read_volume(header)
    with pytest.raises(InputError, match="damaged"):
        read_label(promising(tmp_path / "label.nii.gz", 1000))


def test_a_type_of_many_bytes_takes_no_more_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("renal.image.volume.SLAB", 10_000)
    stored = np.zeros((100, 100, 100))
    stored[20:30] = 1
    write_nifti(tmp_path / "segmentation.nii.gz", stored, np.eye(4))
    header = read_header(tmp_path / "segmentation.nii.gz")
    for read, size in ((read_label, 1), (read_volume, 2)):
        tracemalloc.start()
        volume = read(header)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert volume.sum() == 100_000
        assert peak < size * stored.size + 1_000_000  # the file has 8 bytes a voxel


def test_an_image_of_small_numbers_is_a_bomb_by_what_it_takes_in_memory(tmp_path):
    header = promising(tmp_path / "ct.nii.gz", 1000, (512, 512, 400))
    header.nifti.set_data_dtype(np.uint8)
    with pytest.raises(InputError, match="unpack to 210, over 50"):
        read_volume(header)
