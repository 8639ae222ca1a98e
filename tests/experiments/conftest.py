"""Shared by the tests of the experiments: prepared digits, small settings, made-up runs."""

import numpy as np
import pytest

from experiments.runs import exploring, readings, rounds, training
from experiments.runs.settings import RegretSettings
from experiments.tasks import datasets

TRACKED_ROUNDS = 1000


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A directory that holds the prepared digits and nothing else."""
    directory = str(tmp_path_factory.mktemp("data"))
    datasets.load("digits", "train", directory)
    return directory


@pytest.fixture(scope="session")
def make_settings(data_dir):
    """Makes settings of a run that takes a moment."""

    def make(directory, **changes):
        return RegretSettings(
            **{
                "optimizers": ("sgd", "adam:0.002"),
                "max_steps": 40,
                "burn_in": 5,
                "recorded_rounds": 35,
                "tolerance": 0.2,
                "parts": ("network",),
                "horizons": 1,
                "data_dir": data_dir,
                "output_dir": str(directory / "out"),
            }
            | changes
        )

    return make


@pytest.fixture
def settings(make_settings, tmp_path):
    """Settings of a run that takes a moment."""
    return make_settings(tmp_path)


@pytest.fixture(scope="session")
def look_less_often():
    """Lets runs be read at a few of their rounds, since each reading takes longer than a round."""

    def look(patch):
        for module, name, most in (
            (training, "SUMMARIES", 4),
            (exploring, "SNAPSHOTS", 5),
            (readings, "LOG_SPACED", 6),
            (readings, "LINEARLY_SPACED", 6),
            (readings, "UNITS", 3),
        ):
            patch.setattr(module, name, most)

    return look


@pytest.fixture(scope="session")
def make_run():
    """Makes runs with known values, of 1000 tracked rounds, as training would return them."""
    return _run


def _run(optimizer="sgd", power=0.5, diverged=False):
    """Returns a run of 1000 rounds whose linear regret is `N**power`, and average loss `1 + 1/N`.

    Layer `a` has half of the regret in two units, layer `b` has negative regret in one unit.
    """
    units = rounds.log_spaced(TRACKED_ROUNDS, readings.UNITS)
    numbers = sorted(
        {
            *units,
            *rounds.log_spaced(TRACKED_ROUNDS, readings.LOG_SPACED),
            *rounds.linearly_spaced(TRACKED_ROUNDS, readings.LINEARLY_SPACED),
        }
    )
    return {
        "optimizer": optimizer,
        "learning_rate": 0.01,
        "wall_seconds": 1.0,
        "solve_seconds": 2.0,
        "diverged": diverged,
        "parameters": 3,
        "means": {"loss": 1.0, "taylor_loss_initial": 1.5},
        "final_means": {"loss": 0.75, "taylor_loss_initial": 1.25},
        "diagnosis": [_advice("network", "raise"), _advice("layer:a", "lags")],
        "decomposition": {} if diverged else _split(power),
        "progress": {
            "round": numbers,
            "steps": numbers,
            "skipped_steps": [0] * len(numbers),
            "average_loss": [1 + 1 / number for number in numbers],
        },
        "average_taylor_loss": {
            "initial": [1.5] * len(numbers),
            "average": [0.5] * len(numbers),
        },
        "network": _series(numbers, power, 1.0),
        "layers": {"a": _series(numbers, power, 0.5), "b": _series(numbers, power, -1.0)},
        "unit_progress": {"round": units, "steps": units},
        "units": {"a": _series(units, power, [0.25, 0.25]), "b": _series(units, power, [-1.0])},
        "environment": {"python": "3"},
    }


def _advice(part, verdict):
    """Returns a row of a diagnosis, whose advice is its verdict about four times."""
    advice = f"{verdict} about 4 times"
    return {"part": part, "verdict": verdict, "advice": advice, "suggested_rate": 0.04}


def _split(power):
    """Returns a decomposition with regret `N**power / 2` of network and layer `a`, and one unit."""
    parts = [_row(part, n, power) for part in ("network", "layer:a") for n in (10, 100, 1000)]
    rate = {
        "slope": power,
        "lower": power - 0.1,
        "upper": power + 0.1,
        "points": 3,
        "share_left_out": 0.0,
    }
    return {
        "parts": parts,
        "units": [_row("unit:a/1", 1000, power)],
        "rates": {"network": rate, "layer:a": rate | {"slope": None}},
    }


def _row(part, horizon, power):
    loss, regret = 1 + 1 / horizon, horizon ** (power - 1) / 2
    return {
        "part": part,
        "rounds": horizon,
        "radius": 0.5,
        "average_loss": loss,
        "optimum_lower": loss - regret * 1.1,
        "optimum_upper": loss - regret,
        "average_regret_lower": regret,
        "average_regret_upper": regret * 1.1,
        "average_linear_regret": 2 * regret,
        "passes": 5,
        "converged": part != "layer:a",
    }


def _series(numbers, power, factor):
    numbers = np.asarray(numbers, float).reshape((-1,) + (1,) * np.ndim(factor))
    regret = numbers**power * np.asarray(factor)
    bound = 1 + 1 / numbers - regret / numbers
    guarantee = 0 * regret + numbers**0.5
    found = {
        "linear_regret": regret,
        "optimum_lower_bound": bound,
        "guarantee": guarantee,
        "relative_regret": regret / guarantee,
        "step_ratio": 0 * regret + 1.5,
    }
    return {name: values.tolist() for name, values in found.items()}
