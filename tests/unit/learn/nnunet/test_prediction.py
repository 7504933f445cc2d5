"""Cases segmented: by the mean of all models' logits, mirrored as they were trained."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from renal.labels import KITS19
from renal.learn.nnunet.dataset import description

from .conftest import FULL, PLANS, made


@pytest.fixture
def predicted(nnunet, tmp_path):
    """A function that predicts two cases, and gives their label maps by name."""
    from renal.learn.nnunet.prediction import predict

    kept = {"3d_fullres": FULL | {"data_identifier": "3d_fullres"}}
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(PLANS | {"configurations": kept}))
    images = {}
    for number, case in enumerate(("case_00000", "case_00001")):
        values = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4) + number
        images[case] = str(tmp_path / f"{case}_image.nii.gz")
        nib.save(nib.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), images[case])

    def work(*models: Path, regions: bool = False, **changes: object) -> dict[str, np.ndarray]:
        told = description([], regions=regions, labels=KITS19)
        (tmp_path / "dataset.json").write_text(json.dumps(told))
        (tmp_path / "predicted").mkdir(exist_ok=True)
        settings = {"images": images, "gpu": False, "threads": 1} | changes
        places = {"planned": str(tmp_path), "output": str(tmp_path / "predicted")}
        predict(models=[str(model) for model in models], **places, **settings)
        written = sorted((tmp_path / "predicted").iterdir())
        assert [path.name for path in written] == ["case_00000.nii.gz", "case_00001.nii.gz"]
        return {path.name: np.asanyarray(nib.load(path).dataobj) for path in written}

    return work


@pytest.fixture
def model(tmp_path):
    """A function that writes a model: its logits are slope * voxel + bias, map by map."""

    def write(name: str, slopes: list[float], biases: list[float], axes=(0, 1, 2)) -> Path:
        weights = {
            "weight": torch.tensor(slopes).reshape(-1, 1, 1, 1, 1),
            "bias": torch.tensor(biases),
        }
        path = tmp_path / name
        save_file(weights, path, {"mirrored_axes": json.dumps(axes)})
        return path

    return write


def test_it_is_the_mean_of_the_models_and_not_a_vote(predicted, model):
    """Two of three models say kidney (1) everywhere; the third is surer of its tumour (2)."""
    kidney = model("one.safetensors", [0, 0, 0], [0, 1, 0])
    again = model("two.safetensors", [0, 0, 0], [0, 1, 0])
    tumour = model("three.safetensors", [0, 0, 10], [0, 0, 0])
    assert all((label == 1).all() for label in predicted(kidney).values())
    found = predicted(kidney, again, tumour)
    # The voxels of the first case are from -1 to 1, those of the second one from 0 to 2.
    voxels = np.linspace(-1, 1, 24).reshape(2, 3, 4)
    for number, label in enumerate(found.values()):
        assert np.array_equal(label, np.where(10 * (voxels + number) > 2, 2, 1))


@pytest.mark.parametrize(("axes", "mirrors"), [((0, 1, 2), True), ((1, 2), True), (None, False)])
def test_what_a_training_mirrored_is_mirrored(predicted, model, axes, mirrors):
    predicted(model("one.safetensors", [0, 0, 0], [0, 1, 0], axes))
    (predictor,) = made
    assert predictor.mirrors == mirrors
    assert predictor.axes == (None if axes is None else list(axes))


def test_regions_are_maps_without_the_background(predicted, model):
    predicted(model("one.safetensors", [0, 0], [0, 1]), regions=True)
    assert made[0].network.out_channels == len(KITS19.regions) == 2


@pytest.mark.parametrize(
    ("threads", "gpu", "processes"), [(1, False, 1), (4, False, 2), (5, True, 2)]
)
def test_cores_are_shared_by_reading_and_writing(
    predicted, model, monkeypatch, threads, gpu, processes
):
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    predicted(model("one.safetensors", [0, 0, 0], [0, 1, 0]), threads=threads, gpu=gpu)
    (predictor,) = made
    assert predictor.processes == (processes, processes)
    assert predictor.device.type == ("cuda" if gpu else "cpu")
    assert used == ([] if gpu else [threads])
    assert not predictor.allow_tqdm


def test_models_of_another_shape_are_refused(predicted, model):
    with pytest.raises(RuntimeError, match="size mismatch"):
        predicted(model("one.safetensors", [0, 0], [0, 1]))
