"""Doubts: what is far from what was learned from, and odd results."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from renal.apply.inputs import NiftiInput
from renal.apply.warnings import doubts_of_result, doubts_of_scan
from renal.errors import InputError
from renal.image.volume import write_nifti
from renal.labels import KITS19, Labels


@pytest.fixture
def scan(checked):
    return NiftiInput("case", Path(checked[0].image)).read()


@pytest.fixture
def provenance(opened):
    return opened.package.provenance


def test_a_ct_like_those_learned_from_has_no_doubts(scan, provenance):
    assert doubts_of_scan(scan, provenance) == []


@pytest.mark.parametrize(
    ("learned", "told"),
    [
        ({"slice_spacing_mm": (0.5, 1.0)}, r"^slices [\d.]+ mm apart: learned from 0\.5 to 1 mm$"),
        ({"field_of_view_mm": (700, 900)}, r"^the field of view is [\d.]+ mm wide: learned from"),
    ],
)
def test_a_ct_far_from_those_learned_from(scan, provenance, learned, told):
    (doubt,) = doubts_of_scan(scan, provenance.model_copy(update=learned))
    assert re.search(told, doubt)


def test_a_ct_that_lies_otherwise_than_its_header_says_is_told(scan, provenance):
    turned = replace(scan, volume=scan.volume[:, ::-1])
    (doubt,) = doubts_of_scan(turned, provenance)
    assert doubt.startswith("by the header the spine is in front")


@pytest.mark.parametrize(("degrees", "told"), [(10, False), (40, True)])
def test_slices_oblique_to_the_body_are_told(scan, provenance, degrees, told, tmp_path):
    """A turn about the axis from left to right, as of a plane that follows the kidneys."""
    turn, angle = np.eye(4), np.radians(degrees)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    write_nifti(tmp_path / "oblique.nii.gz", scan.volume, turn @ scan.header.standard_affine)
    doubts = doubts_of_scan(NiftiInput("o", tmp_path / "oblique.nii.gz").read(), provenance)
    words = "the slices are 40 degrees from the body's axes: taken for straight ones"
    assert doubts == ([words] if told else [])


def test_padding_is_told_and_what_is_no_ct_is_refused(scan, provenance, tmp_path):
    volume = np.array(scan.volume)
    volume[:, :3] = -2000
    write_nifti(tmp_path / "padded.nii.gz", volume, scan.header.standard_affine)
    doubts = doubts_of_scan(NiftiInput("p", tmp_path / "padded.nii.gz").read(), provenance)
    assert any("padding" in doubt for doubt in doubts)
    write_nifti(tmp_path / "shifted.nii.gz", volume + 1024, scan.header.standard_affine)
    with pytest.raises(InputError, match="not Hounsfield units"):
        doubts_of_scan(NiftiInput("p", tmp_path / "shifted.nii.gz").read(), provenance)


def test_odd_results_are_told():
    label = np.zeros((4, 9, 9), np.uint8)
    assert doubts_of_result(label) == ["no kidney was found"]
    label[1, 1:4, 1:4] = 1
    label[1, 1:3, 1:3] = 2
    assert doubts_of_result(label) == []
    label[2, 6:8, 6:8] = 2
    assert doubts_of_result(label) == [
        "1 of 2 connected kidney parts is all tumour: look at the CT"
    ]


def test_odd_results_are_told_by_the_names_of_their_scheme():
    kidney, *others = KITS19.regions
    labels = Labels(KITS19.tissues, (replace(kidney, name="organ"), *others))
    label = np.zeros((4, 9, 9), np.uint8)
    assert doubts_of_result(label, labels) == ["no organ was found"]
    label[2, 6:8, 6:8] = 2
    assert doubts_of_result(label, labels) == [
        "1 of 1 connected organ parts is all tumour: look at the CT"
    ]
