"""What others report, for orientation: mean Dice of regions."""

from collections.abc import Iterable

# On KiTS19's 90 test cases, by the challenge's own labels of 2019.
KITS19_TESTED = {
    "KiTS19 winner, test set, published": {"kidney": 0.974, "tumour": 0.851, "composite": 0.912},
    "nnU-Net, open leaderboard 2020, test set, published": {
        "kidney": 0.979,
        "tumour": 0.854,
        "composite": 0.917,
    },
}
KITS19_REACHED = {
    "nnU-Net 3d_fullres, five-fold cross-validation, published": {
        "kidney": 0.970,
        "tumour": 0.837,
        "composite": 0.904,
    },
    **KITS19_TESTED,
    "Two human annotators against each other, published": {
        "kidney": 0.983,
        "tumour": 0.923,
        "composite": 0.953,
    },
}
KITS23_REACHED = {
    "nnU-Net, five-fold cross-validation, published": {"composite": 0.860},
    "nnU-Net ResEnc M, five-fold cross-validation, published": {"composite": 0.868},
    "nnU-Net ResEnc L, five-fold cross-validation, published": {"composite": 0.882},
    "nnU-Net ResEnc XL, five-fold cross-validation, published": {"composite": 0.887},
    "MedNeXt L, five-fold cross-validation, published": {"composite": 0.883},
    "STU-Net B, five-fold cross-validation, published": {"composite": 0.863},
    "U-Mamba, five-fold cross-validation, published": {"composite": 0.863},
    "SwinUNETR, five-fold cross-validation, published": {"composite": 0.813},
    "Auto3DSeg SegResNet, five-fold cross-validation, published": {"composite": 0.811},
    "KiTS23 winner, test set, published": {"composite": 0.835},
}
# By the scheme of labels that they were scored with.
OTHERS_REACH = {"kits19": KITS19_REACHED, "kits23": KITS23_REACHED}


def lines_of(figures: dict[str, dict[str, float]], metrics: Iterable[str]) -> list[list[str]]:
    """For each row of others its name, and the figure of each column of the scores or a dash."""
    return [
        [name, *(_reached(reached.get(metric.removesuffix("_dice"))) for metric in metrics)]
        for name, reached in figures.items()
    ]


def _reached(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"
