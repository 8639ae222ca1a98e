"""Tests of the pictures of the regret report."""

import numpy as np
import pytest

from experiments.analysis import regret_summary
from experiments.reports import drawing, regret_figures

TRACKED = 1000


@pytest.fixture
def runs(make_run):
    return [make_run("sgd"), make_run("adam", power=1.0, diverged=True)]


def test_regret_is_logarithmic_and_has_a_guide_of_slope_one_half(runs):
    (axes,) = regret_figures.regret_figure(runs).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    *lines, guide = axes.lines
    assert [line.get_label() for line in lines[::2]] == ["sgd", "adam (diverged)"]
    np.testing.assert_allclose(lines[1].get_ydata(), np.sqrt(lines[1].get_xdata()))
    rise, run = np.diff(np.log(guide.get_ydata()))[0], np.diff(np.log(guide.get_xdata()))[0]
    assert rise / run == pytest.approx(0.5)


def test_bars_stand_on_each_other(make_run):
    summaries = [
        regret_summary.summarize(run, TRACKED) for run in (make_run(), make_run(power=1.0))
    ]
    (axes,) = regret_figures.decomposition_figure(summaries).axes
    bars = [
        (bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in axes.patches
    ]
    for place, item in enumerate(summaries):
        row = item["decomposition"]["parts"]["network"]
        optimum, regret = (bar for bar in bars if bar[0] == pytest.approx(place))
        assert optimum[1:] == (0, pytest.approx(row["optimum_upper"]))
        assert regret[1] + regret[2] == pytest.approx(row["average_loss"])
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["Taylor optimum", "average regret"]


def test_negative_regret_is_hatched(make_run):
    item = regret_summary.summarize(make_run(), TRACKED)
    item["decomposition"]["parts"]["network"]["average_regret_lower"] = -0.2
    (axes,) = regret_figures.decomposition_figure([item]).axes
    assert axes.patches[1].get_hatch()


def test_growth_has_regret_its_interval_and_linear_regret(runs):
    (axes,) = regret_figures.growth_figure(runs).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.5 * n**0.5 for n in (10, 100, 1000)])
    assert len(axes.collections) == 2


def test_what_is_not_positive_leaves_a_gap(runs):
    runs[0]["network"]["linear_regret"][3] = -1.0
    (axes,) = regret_figures.regret_figure(runs).axes
    assert np.flatnonzero(np.isnan(axes.lines[0].get_ydata())).tolist() == [3]


def test_nothing_positive_is_said_in_words(runs):
    for run in runs:
        del run["layers"]["b"]["guarantee"]
    figure = regret_figures.regret_figure(runs, "b")
    assert "not positive" in figure.axes[0].texts[0].get_text()


def test_each_layer_has_a_panel(runs):
    panels = regret_figures.layers_figure(runs, ["a", "b", "a"]).axes
    assert [axes.get_title() for axes in panels] == ["a", "b", "a"]


def test_what_grows_like_the_root_is_flat(runs):
    regret, optimum, loss = regret_figures.root_figure(runs).axes
    assert [axes.get_title() for axes in (regret, optimum, loss)] == [
        "regret / √N",
        "optimum / √N",
        "loss / √N",
    ]
    np.testing.assert_allclose(regret.lines[0].get_ydata(), 0.5)
    assert np.all(np.diff(loss.lines[0].get_ydata()) > 0)


def test_loss_has_a_line_for_each_optimizer(runs):
    (axes,) = regret_figures.loss_figure(runs, TRACKED).axes
    assert len(axes.lines) == 2


def test_more_optimizers_than_colours(make_run):
    runs = [make_run(f"sgd:{index}") for index in range(9)]
    # For each optimizer its regret and its guarantee, and the guide.
    assert len(regret_figures.regret_figure(runs).axes[0].lines) == 19


@pytest.mark.filterwarnings("error")
def test_a_run_that_diverged_in_the_burn_in_can_be_drawn(make_run):
    """Its only reading is at round 0, which a logarithmic axis has no place for."""
    run = make_run(diverged=True)
    for series in (run["progress"], run["network"], run["layers"]["a"]):
        series |= {name: [None] for name in series}
    run["progress"] |= {"round": [0], "steps": [0], "skipped_steps": [1]}
    run["average_taylor_loss"] = {"initial": [None], "average": [None]}
    run["layers"] = {"a": run["layers"]["a"]}
    summaries = [regret_summary.summarize(run, TRACKED)]
    for figure in (
        regret_figures.decomposition_figure(summaries),
        regret_figures.growth_figure([run]),
        regret_figures.root_figure([run]),
        regret_figures.loss_figure([run], TRACKED),
        regret_figures.regret_figure([run]),
        regret_figures.layers_figure([run], ["a"]),
        regret_figures.sandwich_figure(run),
    ):
        drawing.data_uris(figure)
        assert all(axes.texts for axes in figure.axes), "says that there is nothing to see"
