"""Tests of the pictures: which cases are shown, sizes, and the graph of the rules."""

import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from renal import figures
from renal.errors import InputError
from renal.handover.checked import CheckedCase
from renal.image.volume import write_nifti

SHAPE = (8, 24, 32)
SPACING = (5.0, 1.0, 0.75)


def kits_affine() -> np.ndarray:
    z, y, x = SPACING
    return np.array([[0, 0, -x, 0], [0, -y, 0, 0], [-z, 0, 0, 0], [0, 0, 0, 1.0]])


def scores(*composites: float) -> pd.DataFrame:
    rows = [
        {
            "case": f"case_{number}",
            "grid": grid,
            "kidney_dice": composite,
            "tumour_dice": composite,
            # On the other grids the order is the reverse, and must not count.
            "composite": composite if grid == "native" else 1 - composite,
            "tumour_detection": "found",
        }
        for number, composite in enumerate(composites)
        for grid in ("native", "resampled", "ceiling")
    ]
    return pd.DataFrame(rows)


def picture(path: Path) -> np.ndarray:
    """(height, width, channels) of a PNG."""
    return plt.imread(path)


def assert_shows_something(path: Path, least: int = 200, most: int = 4000) -> None:
    pixels = picture(path)
    assert least <= min(pixels.shape[:2])
    assert max(pixels.shape[:2]) <= most
    assert pixels[..., :3].std() > 0.01


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    yield
    assert plt.get_fignums() == []


# -- overlays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("composites", "expected"),
    [
        ((0.5, 0.9, 0.1), ("case_1", "case_0", "case_2")),
        ((0.1, 0.2, 0.3, 0.4), ("case_3", "case_2", "case_0")),
        ((0.7,), ("case_0", "case_0", "case_0")),
        ((0.5, 0.5, 0.5), ("case_2", "case_1", "case_0")),  # equal scores go by name
    ],
)
def test_ranked_cases(composites, expected):
    ranked = figures.ranked_cases(scores(*composites))
    assert tuple(ranked[rank]["case"] for rank in ("best", "median", "worst")) == expected
    assert all(row["grid"] == "native" for row in ranked.values())


@pytest.fixture
def drawn_cases(tmp_path) -> dict[str, CheckedCase]:
    """A case with a tumour that was found, one without a tumour, one in which all was missed."""
    random = np.random.default_rng(0)
    cases = {}
    for number in range(3):
        name = f"case_{number}"
        truth = np.zeros(SHAPE, np.uint8)
        truth[2:6, 6:16, 5:14] = 1
        if number != 1:
            truth[3:5, 8:12, 7:11] = 2
        prediction = np.zeros_like(truth) if number == 2 else np.roll(truth, 1, axis=2)
        image = random.normal(-100, 100, SHAPE).astype(np.int16)
        folder = tmp_path / "data" / name
        write_nifti(folder / "imaging.nii.gz", image, kits_affine())
        write_nifti(folder / "segmentation.nii.gz", truth, kits_affine())
        write_nifti(tmp_path / "segmentations" / f"{name}.nii.gz", prediction, kits_affine())
        cases[name] = CheckedCase(
            name,
            str(folder / "imaging.nii.gz"),
            str(folder / "segmentation.nii.gz"),
            list(SHAPE),
            list(SPACING),
        )
    return cases


def test_overlays_are_drawn_for_every_rank(tmp_path, drawn_cases):
    scores(0.9, 0.5, 0.0).to_csv(tmp_path / "scores.csv", index=False)
    output = tmp_path / "pictures"
    figures.draw_overlays(tmp_path / "scores.csv", tmp_path / "segmentations", drawn_cases, output)
    assert sorted(path.name for path in output.iterdir()) == ["best.png", "median.png", "worst.png"]
    for path in output.iterdir():
        assert_shows_something(path)


def coloured(path: Path, colour: str) -> bool:
    """Whether a picture shows a colour in its right third, where the prediction is."""
    pixels = picture(path)[..., :3]
    part = pixels[:, 2 * pixels.shape[1] // 3 :]
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(part - wanted).max(axis=-1) < 0.1).any())


def test_outlines_are_those_of_the_prediction(tmp_path, drawn_cases):
    scores(0.9, 0.5, 0.0).to_csv(tmp_path / "scores.csv", index=False)
    figures.draw_overlays(
        tmp_path / "scores.csv", tmp_path / "segmentations", drawn_cases, tmp_path
    )
    kidney, tumour = figures.COLOURS[1], figures.COLOURS[2]
    shown = {
        rank: [coloured(tmp_path / f"{rank}.png", colour) for colour in (kidney, tumour)]
        for rank in figures.RANKS
    }
    assert shown == {"best": [True, True], "median": [True, False], "worst": [False, False]}


# -- curves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 5])
def test_curves(tmp_path, epochs):
    histories = {}
    for fold in range(2):
        path = tmp_path / f"fold{fold}" / "history.csv"
        path.parent.mkdir()
        lines = ["epoch,learning_rate,loss,dice"]
        lines += [f"{epoch + 1},0.001,{1 / (epoch + 1)},{epoch / 5}" for epoch in range(epochs)]
        path.write_text("\n".join(lines) + "\n")
        histories[f"fold{fold}"] = path
    output = tmp_path / "curves.png"
    figures.draw_curves(histories, "tiny, stage whole", output)
    assert_shows_something(output)
    height, width = picture(output).shape[:2]
    assert width > 2 * height


def test_curves_of_watched_cases_are_dashed_in_the_folds_colour(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "_save", lambda figure, _: drawn.update(axes=figure.axes))
    columns = "epoch,learning_rate,loss,dice"
    watched = tmp_path / "watched.csv"
    watched.write_text(f"{columns},validation_loss,validation_dice\n1,0.1,0.9,0.1,0.8,0.3\n")
    plain = tmp_path / "plain.csv"
    plain.write_text(f"{columns}\n1,0.1,0.9,0.2\n")
    figures.draw_curves({"fold0": watched, "fold1": plain}, "tiny", tmp_path / "unused.png")
    plt.close("all")
    lines = [
        [(line.get_linestyle(), line.get_ydata().tolist()) for line in panel.get_lines()]
        for panel in drawn["axes"]
    ]
    assert lines == [
        [("-", [0.9]), ("--", [0.8]), ("-", [0.9])],
        [("-", [0.1]), ("--", [0.3]), ("-", [0.2])],
        [("-", [0.1]), ("-", [0.1])],
    ]
    one, dashed, other = (line.get_color() for line in drawn["axes"][0].get_lines())
    assert one == dashed != other


# -- located regions ------------------------------------------------------------------------------


def located_scores(path: Path) -> Path:
    shares = {"case_0": (0.9, 0.5), "case_1": (1.0, ""), "case_2": (0.2, 0.0)}
    lines = ["case,grid,located_kidney,located_tumour"]
    for case, (kidney, tumour) in shares.items():
        lines += [f"{case},native,{kidney},{tumour}", f"{case},resampled,,", f"{case},ceiling,,"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_located_regions_are_drawn(tmp_path):
    output = tmp_path / "located.png"
    figures.draw_located(located_scores(tmp_path / "scores.csv"), "tiny", output)
    assert_shows_something(output)


def test_located_regions_are_shown_from_the_worst_to_the_best(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "_save", lambda figure, _: drawn.update(axes=figure.axes))
    figures.draw_located(located_scores(tmp_path / "scores.csv"), "tiny", tmp_path / "unused.png")
    plt.close("all")
    kidney, tumour = (line.get_ydata().tolist() for line in drawn["axes"][0].get_lines())
    assert kidney == [0.2, 0.9, 1.0]
    assert tumour[:2] == [0.0, 0.5] and np.isnan(tumour[2])  # no tumour, no share


def test_pictures_repeat_to_the_byte(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,learning_rate,loss,dice\n1,0.1,0.9,0.1\n2,0.1,0.8,0.2\n")
    for name in ("one.png", "two.png"):
        figures.draw_curves({"fold0": path}, "tiny", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


# -- rule graph -----------------------------------------------------------------------------------


def edges(text: str) -> set[tuple[str, str]]:
    """``"ab bc"`` is a to b and b to c."""
    return {(pair[0], pair[1]) for pair in text.split()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ab bc", "ab bc"),
        ("ab bc ac", "ab bc"),
        ("ab bc cd ad bd", "ab bc cd"),
        ("ab ac bd cd", "ab ac bd cd"),
        ("ab ac bd cd ad", "ab ac bd cd"),
        ("aa ab", "ab"),
        # predict feeds crop_roi, which feeds another predict: rules may form a circle.
        ("pc cp pm", "pc cp pm"),
        ("tp pc cp pm tm", "tp pc cp pm"),
        ("", ""),
    ],
)
def test_an_edge_is_dropped_where_a_longer_way_leads_along(given, expected):
    assert figures._without_shortcuts(edges(given)) == edges(expected)


def test_levels_go_down_from_rules_without_an_input():
    graph = edges("ab bc cd ec")
    assert {rule: figures._level(rule, graph, frozenset()) for rule in "abcde"} == {
        "a": 0,
        "b": 1,
        "c": 2,
        "d": 3,
        "e": 0,
    }


def test_an_edge_goes_around_the_boxes_of_the_rows_it_crosses():
    level = {"a": 0, "b": 1, "c": 1, "d": 2}
    crossing = ("a", "d", 1)
    crossings = {("a", "b"): [], ("a", "c"): [], ("b", "d"): [], ("a", "d"): [crossing]}
    place = figures._places(level, crossings)
    assert {node: -y for node, (_, y) in place.items()} == {**level, crossing: 1}
    row = sorted(place[node][0] for node in ("b", "c", crossing))
    assert min(b - a for a, b in pairwise(row)) > 0.64  # a box is one wide
    assert place["a"][0] == place["d"][0] == 0


PLANNED = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded];
\t0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
\t1[label = "merge", color = "0.63 0.6 0.85", style="rounded"];
\t2[label = "predict", color = "0.10 0.6 0.85", style="rounded"];
\t3[label = "crop_roi", color = "0.10 0.6 0.85", style="rounded"];
\t4[label = "evaluate", color = "0.20 0.6 0.85", style="rounded"];
\t1 -> 0
\t1 -> 4
\t4 -> 0
\t2 -> 0
\t2 -> 1
\t2 -> 3
\t3 -> 2
}
"""


def answer(monkeypatch, **result: object) -> None:
    monkeypatch.setattr(
        figures.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, **result),
    )


def test_rule_graph_from_what_snakemake_plans(tmp_path, monkeypatch):
    answer(monkeypatch, returncode=0, stdout=PLANNED, stderr="")
    drawn = []
    original = figures._draw_graph

    def remember(graph, output):
        drawn.append(graph)
        original(graph, output)

    monkeypatch.setattr(figures, "_draw_graph", remember)
    output = tmp_path / "graph.png"
    figures.draw_rule_graph(tmp_path / "Snakefile", ["tiny"], 2, output)
    # The targets and the graph's own rule are no part of the flow.
    assert drawn == [
        {
            ("predict", "merge"),
            ("predict", "crop_roi"),
            ("crop_roi", "predict"),
            ("merge", "evaluate"),
        }
    ]
    assert_shows_something(output)


def test_a_workflow_that_cannot_be_planned(tmp_path, monkeypatch):
    answer(monkeypatch, returncode=1, stdout="", stderr="Building DAG\nNameError: no such name\n")
    with pytest.raises(InputError, match="Snakefile: cannot be planned") as error:
        figures.draw_rule_graph(tmp_path / "Snakefile", ["tiny"], 2, tmp_path / "graph.png")
    assert "NameError: no such name" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "graph.png").exists()
