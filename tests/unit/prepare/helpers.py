"""What the tests of the preparation's folders share."""

from renal.image.settings import Geometry
from renal.prepare.settings import Intensity

GEOMETRY = Geometry(size=(12, 20, 24))
INTENSITY = Intensity(window=(-200, 400), standardize=True, rescale=(-1, 1))
NAMES = [f"case_0000{number}" for number in range(4)]
LABELLED = NAMES[:3]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def expected_names(cases, labelled, regions=1):
    found = ["cases.json"]
    found += [f"{case}.{n}.image.npy" for case in cases for n in range(regions)]
    return sorted(found + [f"{case}.{n}.label.npy" for case in labelled for n in range(regions)])
