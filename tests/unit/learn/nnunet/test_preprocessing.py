"""Cases prepared: nnU-Net finds data set and plans, and leaves what trainings read."""

import json

import pytest

from .conftest import FULL, PLANS


@pytest.fixture
def planned(nnunet, tmp_path, monkeypatch):
    """The folder of plans, beside which nnU-Net looks; two cases are in its data set."""
    raw, planned = (tmp_path / kind / "Dataset001_renal" for kind in ("raw", "preprocessed"))
    for variable, folder in (("nnUNet_raw", raw), ("nnUNet_preprocessed", planned)):
        folder.mkdir(parents=True)
        monkeypatch.setenv(variable, str(folder.parent))
    cases = {case: {"images": [], "label": f"{case}.nii.gz"} for case in ("a", "b")}
    for case in cases:
        (raw / f"{case}.nii.gz").write_text(case)
    (raw / "dataset.json").write_text(json.dumps({"dataset": cases}))
    kept = {"3d_fullres": FULL | {"data_identifier": "3d_fullres"}}
    (planned / "nnUNetPlans.json").write_text(json.dumps(PLANS | {"configurations": kept}))
    return planned


def test_all_cases_lie_in_the_folder_of_the_configuration(planned, capsys):
    from renal.learn.nnunet.preprocessing import preprocess

    preprocess(str(planned), "3d_fullres", threads=2)
    written = {path.name: path.read_text() for path in (planned / "3d_fullres").iterdir()}
    assert written == {"a.b2nd": "a", "b.b2nd": "b"}
    assert capsys.readouterr().out == ""  # a bar would fill the log


def test_its_processes_are_the_threads_of_the_step(planned, monkeypatch):
    from renal.learn.nnunet.preprocessing import preprocess

    from .conftest import Preprocessor

    asked = []
    monkeypatch.setattr(Preprocessor, "run", lambda self, *of, **settings: asked.append(settings))
    preprocess(str(planned), "3d_fullres", threads=3)
    assert asked == [{"num_processes": 3}]
