"""What several annotators outlined, instance by instance, as KiTS23 keeps it.

``instances/tumor_instance-1_annotation-2.nii.gz`` in a case's folder is what one person outlined of
one tumour. Cases 0 to 299 have three of each instance, later ones have one.

References
----------
N. Heller et al., ``LABEL_AGGREGATION_ORDER`` in ``kits23/configuration/labels.py`` in
https://github.com/neheller/kits23, and ``kits21/annotation/sample_segmentations.py`` in
https://github.com/neheller/kits21: the order of painting, and that no outline is used twice because
an annotation's number is not one person's
"""

import re
from pathlib import Path

INSTANCES = "instances"
OUTLINE = re.compile(r"(kidney|cyst|tumor)_instance-(\d+)_annotation-(\d+)\.nii\.gz")
# Later ones are painted over earlier ones.
TISSUES = {"kidney": "parenchyma", "cyst": "cyst", "tumor": "tumour"}

# Tissue and file of every instance, in the order of painting.
Reading = list[tuple[str, Path]]


def readings_of(image: Path) -> list[Reading]:
    """What several annotators make of a case: none of a case that has been outlined once or never.

    Parameters
    ----------
    image : Path
        The case's image, which the folder of instances lies beside.

    Returns
    -------
    list of Reading
        As many as the instance with the fewest outlines has, in the order of their numbers. Each
        has one outline of every instance, and none has another's.
    """
    folder = image.parent / INSTANCES
    outlines: dict[tuple[int, int], dict[int, Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if named := OUTLINE.fullmatch(path.name):
            instance = list(TISSUES).index(named[1]), int(named[2])
            outlines.setdefault(instance, {})[int(named[3])] = path
    count = min((len(found) for found in outlines.values()), default=0)
    if count < 2:
        return []
    tissues = list(TISSUES.values())
    ordered = [
        (tissues[kind], [found[number] for number in sorted(found)])
        for (kind, _), found in sorted(outlines.items())
    ]
    return [[(tissue, paths[number]) for tissue, paths in ordered] for number in range(count)]
