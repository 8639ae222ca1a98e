"""Tests of grids of learning rates."""

from experiments.tasks import rates


def test_the_grid_goes_on_beyond_an_end_that_is_best():
    def runs(name, *losses):
        return [
            {"optimizer": name, "learning_rate": rate, "final_loss": loss}
            for rate, loss in zip((0.01, 0.1, 1.0), losses, strict=True)
        ]

    grid = [
        *runs("upper", 3.0, 2.0, 1.0),
        *runs("lower", 1.0, 2.0, None),
        *runs("between", 2.0, 1.0, 2.0),
        *runs("diverged", None, None, None),
    ]
    assert rates.beyond_ends(grid) == [("upper", 3.16), ("lower", 0.00316)]


def test_no_rate_is_best_where_all_diverged():
    runs = [{"optimizer": "sgd", "learning_rate": 1.0, "final_loss": None}]
    assert rates.best(runs) == {"sgd": None}
