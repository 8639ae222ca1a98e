"""Tests of what all pictures share."""

import base64

import numpy as np
import pytest

from experiments.reports import drawing, plot_data


def _drawn():
    drawn, (axes,) = drawing.subplots(1)
    drawing.line(axes, 0, "sgd", [1, 2, 3], [1.0, 4.0, 9.0])
    drawing.line(axes, 1, "adam", [1, 2, 3], [1.0, 2.0, 3.0])
    return drawing.finished(drawn)


def test_images_are_written_as_png_and_as_svg(tmp_path):
    drawing.write_images(_drawn(), tmp_path, "x")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.svg").read_text(encoding="utf-8").endswith("</svg>\n")
    assert len(list(tmp_path.iterdir())) == 2


def _svg(uri):
    kind, _, data = uri.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(data).decode("utf-8")


def test_data_uris_are_the_same_each_time_and_recoloured_for_dark():
    one, other = drawing.data_uris(_drawn()), drawing.data_uris(_drawn())
    assert one == other
    light, dark = map(_svg, one)
    used = [colour for colour in drawing.DARK if colour in light]
    assert {drawing.INK, drawing.PAPER, drawing.COLOURS[0], drawing.COLOURS[1]} <= set(used)
    for colour in used:
        assert colour not in dark
        assert dark.count(drawing.DARK[colour]) == light.count(colour)


def test_panels_are_two_in_a_row():
    figure, panels = drawing.subplots(3)
    assert len(panels) == len(figure.axes) == 3
    width, height = figure.get_size_inches()
    assert (width, height) == (2 * drawing.PANEL_INCHES[0], 2 * drawing.PANEL_INCHES[1])


def test_more_lines_than_colours_start_over():
    assert drawing.colour(len(drawing.COLOURS)) == drawing.COLOURS[0]


@pytest.mark.parametrize(("values", "scale"), [([0.0, 1.0], "log"), ([0.0, -1.0], "linear")])
def test_an_axis_is_logarithmic_only_if_something_is_positive(values, scale):
    _, (axes,) = drawing.subplots(1)
    axes.plot([1, 2], values)
    drawing.scale_logarithmic(axes)
    assert axes.get_yscale() == scale


def _run(optimizer, losses, diverged=False):
    return {"optimizer": optimizer, "rounds": [1, 2], "losses": losses, "diverged": diverged}


def test_curves_are_means_over_seeds_with_students_interval():
    runs = [_run("sgd", [1.0, 4.0]), _run("sgd", [3.0, 4.0]), _run("adam", [9.0, 9.0], True)]
    figure = drawing.curves_figure(runs, "rounds", lambda run: run["losses"], "title", "loss")
    (axes,) = figure.axes
    (line,) = axes.lines
    np.testing.assert_allclose(line.get_ydata(), [2.0, 4.0])
    first, last = plot_data.rows(figure)
    # Quantile 97.5 % of Student's t with one degree of freedom, times a standard error of one.
    assert first["y_upper"] - 2.0 == pytest.approx(12.7062, rel=1e-4)
    assert first["y_lower"] == pytest.approx(4.0 - first["y_upper"])
    assert last["y_lower"] == last["y_upper"] == 4.0


@pytest.mark.filterwarnings("error")
def test_without_a_run_the_picture_says_so(tmp_path):
    runs = [_run("sgd", [1.0, 4.0], diverged=True)]
    figure = drawing.curves_figure(runs, "rounds", lambda run: run["losses"], "t", "loss", log=True)
    drawing.write_images(figure, tmp_path, "x")
    assert figure.axes[0].texts[0].get_text() == "no run has a value"
    assert figure.axes[0].get_legend() is None
