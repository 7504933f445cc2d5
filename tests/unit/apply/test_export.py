"""What of a row is packed, and what is missing for it."""

import json
import shutil

import pytest

from renal.apply.export import _scores, _without_beginning, export
from renal.errors import InputError
from renal.handover.seals import write_seal
from renal.recipe import load_method, prediction

from .conftest import tiny_configuration


def test_the_file_that_a_training_began_with_is_no_part_of_a_package():
    stages = load_method("damnet", {}).stages
    stage = prediction(stages["fine"])
    assert stage.network.weights is not None
    packed = _without_beginning(stage)
    assert packed.network.weights is None
    assert packed.network.keywords == stage.network.keywords
    assert packed.model_copy(update={"network": stage.network}) == stage
    fresh = prediction(stages["coarse"])
    assert _without_beginning(fresh) == fresh


def test_cases_without_a_record_are_counted(packed, tmp_path):
    shutil.copytree(packed.parent / "results", tmp_path / "results")
    record = tmp_path / "results/cases/fold0-000.json"
    record.write_text(json.dumps(json.loads(record.read_text())[1:]))
    with pytest.raises(InputError) as error:
        export("resvnet", tiny_configuration(tmp_path), tmp_path / "row.renal")
    assert str(error.value) == (
        f"{tmp_path}/results/cases: 1 of the cases that were learned from have no record: "
        "run the workflow again"
    )
    assert not (tmp_path / "row.renal").exists()


def test_scores_that_are_not_as_they_were_written_are_not_packed(packed, tmp_path):
    shutil.copytree(packed.parent / "results", tmp_path / "results")
    path = tmp_path / "results/resvnet/scores.csv"
    path.write_text(path.read_text().replace("0.92", "0.99"))
    with pytest.raises(InputError, match=f"{path}: damaged or changed since it was written"):
        export("resvnet", tiny_configuration(tmp_path), tmp_path / "row.renal")


def test_a_row_that_finds_some_regions_alone_has_no_composite(tmp_path):
    path = tmp_path / "scores.csv"
    lines = [f"case_{n},native,{n % 2},0.{8 + n % 2},,\n" for n in range(4)]
    path.write_text("case,grid,fold,kidney_dice,tumour_dice,composite\n" + "".join(lines))
    write_seal(path)
    (score,) = (scores := _scores(path, ("kidney",))).values()
    assert list(scores) == ["kidney"]
    assert (score.mean, score.sd) == pytest.approx((0.85, 0.005**0.5))


@pytest.mark.parametrize("row", ["ensemble_vote", "ensemble_average", "nnunet", "totalsegmentator"])
def test_a_row_without_networks_of_its_own_is_refused(row, tmp_path):
    configuration = tiny_configuration(tmp_path, methods=[row, "resvnet"], overrides={})
    with pytest.raises(InputError, match=f"{row}: a vote, .*: export a row of networks"):
        export(row, configuration, tmp_path / "row.renal")
