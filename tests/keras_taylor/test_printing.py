"""Tests of what results print: a few lines, in a terminal and in a notebook."""

import keras
import numpy as np
import pytest

import keras_taylor as kt


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")], name="net")
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    generator = np.random.default_rng(0)
    batches = [tuple(generator.normal(size=(4, n)) for n in (3, 2)) for _ in range(6)]
    path = tmp_path_factory.mktemp("printing") / "run"
    return kt.record(model, batches, path, steps=6, verbose=0), model


def test_an_optimum_prints_its_interval_radius_passes_and_reason(recorded):
    found = kt.taylor_optimum(*recorded, verbose=0)
    text = str(found)
    assert len(text.splitlines()) == 3
    for part in ("network", f"R = {found.radius:.4g}", f"{found.passes} passes", found.reason):
        assert part in text
    assert f"{found.lower_bound:.4g} to {found.value:.4g}" in text
    assert found.bound in text
    assert found._repr_html_() == f"<pre>{found!r}</pre>"


def test_a_decomposition_prints_a_line_for_each_row(recorded):
    table = kt.decompose(*recorded, "layers", rounds=[3, 6], verbose=0)
    heading, *lines = str(table).splitlines()
    assert heading.split() == [
        "part",
        "rounds",
        "R",
        "average",
        "loss",
        "optimum",
        "average",
        "regret",
    ]
    assert [line.split()[:2] for line in lines] == [["layer:net/a", "3"], ["layer:net/a", "6"]]


def test_a_trajectory_prints_its_rounds_and_place(recorded):
    trajectory, _ = recorded
    assert repr(trajectory).splitlines() == [
        "Trajectory of 6 recorded rounds (all rounds after the burn-in)",
        str(trajectory.path),
    ]
