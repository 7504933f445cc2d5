"""Curves: a line a fold, dashed for watched cases."""

import pytest
from matplotlib import pyplot as plt

from renal.report import curves
from renal.report.curves import draw_curves

from .helpers import assert_shows_something, picture


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
    draw_curves(histories, "tiny, stage whole", output)
    assert_shows_something(output)
    height, width = picture(output).shape[:2]
    assert width > 2 * height


def test_curves_of_watched_cases_are_dashed_in_the_folds_colour(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(curves, "save", lambda figure, _: drawn.update(axes=figure.axes))
    columns = "epoch,learning_rate,loss,dice,foreground,gradient_norm"
    watched = tmp_path / "watched.csv"
    watched.write_text(f"{columns},validation_loss,validation_dice\n1,0.1,0.9,0.1,0.02,3,0.8,0.3\n")
    plain = tmp_path / "plain.csv"
    plain.write_text(f"{columns}\n1,0.1,0.9,0.2,0,0\n")
    draw_curves({"fold0": watched, "fold1": plain}, "tiny", tmp_path / "unused.png")
    plt.close("all")
    lines = [
        [(line.get_linestyle(), line.get_ydata().tolist()) for line in panel.get_lines()]
        for panel in drawn["axes"]
    ]
    assert lines == [
        [("-", [0.9]), ("--", [0.8]), ("-", [0.9])],
        [("-", [0.1]), ("--", [0.3]), ("-", [0.2])],
        [("-", [0.1]), ("-", [0.1])],
        [("-", [3]), ("-", [0])],
        [("-", [0.02]), ("-", [0])],
    ]
    scales = [panel.get_yscale() for panel in drawn["axes"]]
    assert scales == ["linear", "linear", "linear", "log", "linear"]
    one, dashed, other = (line.get_color() for line in drawn["axes"][0].get_lines())
    assert one == dashed != other


def test_curves_of_nnunet_which_tells_the_dice_of_held_out_patches_alone(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(curves, "save", lambda figure, _: drawn.update(axes=figure.axes))
    path = tmp_path / "history.csv"
    columns = "epoch,learning_rate,loss,validation_loss,validation_dice"
    path.write_text(f"{columns}\n1,0.1,-0.9,-0.8,0.3\n")
    draw_curves({"fold0": path}, "tiny", tmp_path / "unused.png")
    plt.close("all")
    lines = [[line.get_linestyle() for line in panel.get_lines()] for panel in drawn["axes"]]
    assert lines == [["-", "--"], ["--"], ["-"], [], []]


def test_pictures_repeat_to_the_byte(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,learning_rate,loss,dice\n1,0.1,0.9,0.1\n2,0.1,0.8,0.2\n")
    for name in ("one.png", "two.png"):
        draw_curves({"fold0": path}, "tiny", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
