"""What a package is, in words."""

import textwrap

from renal.apply.package import Package, PackageFile, Provenance

COLUMNS = 90  # of a picture's title


def described(file: PackageFile) -> str:
    """Lines for a terminal: what it is for, how well it did, and where it comes from."""
    package, provenance = file.package, file.package.provenance
    size = file.path.stat().st_size / 1e6
    trainings = provenance.trainings.values()
    torches = sorted({run.torch for run in trainings})
    finished = sorted(run.finished[:10] for run in trainings)
    lines = [
        f"{package.name}: {package.title}",
        package.intended_use,
        package.licence,
        "labels: " + ", ".join(f"{value} {tissue}" for value, tissue in package.labels.items()),
        f"stages: {', '.join(package.stages)}; {package.folds} models each, {size:.0f} MB",
        *(
            f"Dice of {name} in cross-validation: {score.mean:.3f} (SD {score.sd:.3f})"
            for name, score in provenance.scores.items()
        ),
        _learned_from(provenance),
        f"trained from {finished[0]} to {finished[-1]} with torch {', '.join(torches)}",
        f"package format {package.format}, SHA-256 {file.digest}",
    ]
    return "\n".join(lines)


def notice(package: Package) -> str:
    """What a package is for and learned from, in lines for a picture."""
    lines = [
        *textwrap.wrap(package.intended_use, COLUMNS, break_on_hyphens=False),
        _learned_from(package.provenance),
    ]
    return "\n".join(lines)


def _learned_from(provenance: Provenance) -> str:
    return (
        f"learned from {len(provenance.cases)} cases: slices {_range(provenance.slice_spacing_mm)} "
        f"apart, field of view {_range(provenance.field_of_view_mm)}"
    )


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g} mm"
