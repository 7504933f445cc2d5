"""A trained row as one file: what it holds, and how it is written and read.

A package is a zip archive whose members are stored as they are: ``package.json``, a `Package`, and
the weights of every model as safetensors. Nothing in it is run, unpickled or written to disk.
"""

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from renal.apply.stored import check_stored, file_digest, understood, write_stored
from renal.errors import InputError
from renal.evaluate.settings import Merging
from renal.files import replacing
from renal.image.settings import Geometry
from renal.labels import KITS19, Labels
from renal.learn.settings import Prediction
from renal.prepare.settings import Intensity, RegionCrop
from renal.settings import Name, Strict

FORMAT = 1  # of packages; one more whenever an older program could not read a new one
DESCRIPTION = "package.json"
LARGEST_DESCRIPTION = 1 << 24  # bytes
MODEL = re.compile(r"models/[a-z][a-z0-9_]*/[a-z][a-z0-9_]*/fold\d+\.safetensors")

# A stage of a recipe: both names, since stages of several recipes may be averaged.
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*/[a-z][a-z0-9_]*$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Range = tuple[PositiveFloat, PositiveFloat]


class WholeVolume(Strict):
    """How a stage sees a whole volume."""

    geometry: Geometry
    intensity: Intensity


class PackedStage(Strict):
    """A stage as it is applied.

    Attributes
    ----------
    sees : WholeVolume or RegionCrop
        The grid and intensities of the volume, or of regions in it.
    locator : str or None
        The stage whose mask the regions come from.
    prediction : Prediction
        Network, target and inference.
    models : tuple of str
        The archive's members with the weights, by fold.
    """

    sees: WholeVolume | RegionCrop
    locator: Key | None = None
    prediction: Prediction
    models: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def crop(self) -> RegionCrop | None:
        """How regions are cut out, where it sees some and not the whole volume."""
        return self.sees if isinstance(self.sees, RegionCrop) else None


class Score(Strict):
    """Mean and standard deviation over the folds of a mean over cases."""

    mean: float
    sd: float


class Trained(Strict):
    """What a model's run.json says that is neither about paths nor about the cases' names."""

    finished: str
    epochs: int
    kept_epoch: int
    seed: int
    commit: str | None
    parameters: int
    device: str
    torch: str


class Provenance(Strict):
    """Where the models come from.

    Attributes
    ----------
    cases : tuple of str
        Checksums of the labelled cases' files; names and paths stay where they are.
    scores : dict
        Dice in cross-validation on the scanner's voxels, by region.
    slice_spacing_mm, field_of_view_mm : tuple of float
        Smallest and largest of the cases: distance of slices, and the shorter side of a slice.
    trainings : dict
        Of each model, by its member of the archive.
    recipes : dict
        The recipes in full, for reading.
    """

    cases: tuple[str, ...]
    scores: dict[str, Score]
    slice_spacing_mm: Range
    field_of_view_mm: Range
    trainings: Annotated[dict[str, Trained], Field(min_length=1)]
    recipes: dict[str, dict[str, Any]]


class Package(Strict):
    """What ``package.json`` says.

    Attributes
    ----------
    format : int
        `FORMAT` of the program that wrote it.
    name, title : str
        Of the row.
    intended_use, licence : str
        For whoever applies it.
    labels : dict
        What the values of its label maps are.
    scheme : Labels
        The regions of its label maps.
    folds : int
        Models of each stage.
    bfloat16_on_cpu : bool
        Whether the row was computed in mixed precision where there is no GPU.
    stages : dict
        Each after the one that locates its regions.
    merged : dict
        Stage of `merging` to the packed stages whose mean it is.
    merging : Merging
        From probabilities to a label map.
    hashes : dict
        Member to its SHA-256.
    """

    format: PositiveInt
    name: Name
    title: str
    intended_use: str
    licence: str
    labels: dict[int, str]
    scheme: Labels = KITS19
    folds: PositiveInt
    bfloat16_on_cpu: bool
    stages: Annotated[dict[Key, PackedStage], Field(min_length=1)]
    merged: dict[Name, Annotated[tuple[Key, ...], Field(min_length=1)]]
    merging: Merging
    provenance: Provenance
    hashes: dict[str, Digest]

    @model_validator(mode="after")
    def _complete(self) -> "Package":
        earlier: set[str] = set()
        for key, stage in self.stages.items():
            if (stage.crop is None) != (stage.locator is None):
                raise ValueError(f"stages.{key}: regions and a locator go together")
            if stage.locator is not None and stage.locator not in earlier:
                raise ValueError(f"stages.{key}.locator is not an earlier stage")
            if len(stage.models) != self.folds:
                raise ValueError(f"stages.{key}.models are not one for each fold")
            earlier.add(key)
        if set(self.merged) != set(self.merging.stages):
            raise ValueError("merged does not say what each stage of merging is")
        if unknown := {key for keys in self.merged.values() for key in keys} - earlier:
            raise ValueError(f"merged names {sorted(unknown)[0]}, which is no stage")
        models = {model for stage in self.stages.values() for model in stage.models}
        if models != set(self.hashes) or not all(MODEL.fullmatch(name) for name in models):
            raise ValueError("hashes are not those of the stages' models")
        return self


@dataclass(frozen=True)
class PackageFile:
    """A package that was opened and found sound.

    Attributes
    ----------
    path : Path
        The archive.
    package : Package
        What it says of itself.
    digest : str
        SHA-256 of the whole file.
    """

    path: Path
    package: Package
    digest: str

    def weights(self, model: str) -> bytes:
        """The bytes of a model.

        Raises
        ------
        InputError
            If they are not those that the package was written with.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                content = archive.read(model)
        except (OSError, zipfile.BadZipFile) as error:
            raise _damaged(self.path, f"{model}: {error}") from error
        if hashlib.sha256(content).hexdigest() != self.package.hashes[model]:
            raise _damaged(self.path, f"{model} is not what was packed")
        return content


def write_package(path: Path, package: Package, models: dict[str, Path]) -> None:
    """Write a package in one step; the same content gives the same bytes.

    Parameters
    ----------
    path : Path
        The file.
    package : Package
        What it says.
    models : dict
        Member to the file with its weights.
    """
    default = {"scheme"} if package.scheme == KITS19 else None  # earlier programs know no other
    description = json.dumps(package.model_dump(mode="json", exclude=default), indent=1) + "\n"
    with replacing(path) as temporary:
        write_stored(temporary, {DESCRIPTION: description.encode(), **dict(sorted(models.items()))})


def read_package(path: Path) -> PackageFile:
    """Open a package and check all but the weights, which are checked when they are read.

    Raises
    ------
    InputError
        If the file is missing, damaged, no package, of a newer format, or holds anything else than
        what it says it holds.
    """
    try:
        digest = file_digest(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            values = json.loads(archive.read(DESCRIPTION))
        package = understood(path, DESCRIPTION, values, Package, FORMAT)
    except FileNotFoundError:
        raise InputError(f"{path}: missing: name a file that `renal export` wrote") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    if {member.filename for member in members} != {DESCRIPTION, *package.hashes}:
        raise _damaged(path, "it does not hold the files that it names")
    return PackageFile(path, package, digest)


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse what cannot be a package: nothing is unpacked before."""
    names = [member.filename for member in members]
    if DESCRIPTION not in names:
        raise InputError(f"{path}: no {DESCRIPTION} in it: name a file that `renal export` wrote")
    check_stored(path, members)
    largest = members[names.index(DESCRIPTION)].file_size
    if largest > LARGEST_DESCRIPTION:
        raise _damaged(path, f"{DESCRIPTION} has {largest} bytes")


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path}: damaged or no package ({why}): copy it again, or export it again")
