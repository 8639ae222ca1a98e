"""A case of `experiments.rate_advice`: one optimizer and seed, all ways to choose its rate."""

import time

from experiments.runs import range_test, rate_trials


def run(trainer, choice, rates, seed, find_by_range):
    """Trains over the grid, at what the advice says from each of its rates, and at other readings.

    Args:
        trainer: An `experiments.runs.rate_trials.Trainer`, or what has its `train`.
        choice: An `experiments.tasks.optimizers.Choice`, whose rate is the default.
        rates: The rates of the grid.
        seed: The seed.
        find_by_range: Function without arguments that returns rates by name.

    Returns:
        A dictionary: `optimizer`, `seed`, `grid` (runs), `advised` (for each rate of the grid
        `begin`, `suggestions` and `final_loss` at the last of them), `others` (for each other way
        `learning_rate` and `final_loss`), `seconds`.
    """
    began, known = time.perf_counter(), {}

    def final_loss(rate):
        if rate not in known:
            known[rate] = trainer.train(rate, seed)
        return known[rate]["final_loss"]

    for rate in rates:
        final_loss(rate)
    grid = [known[rate] for rate in rates]
    advised = []
    for begin in grid:
        suggestions = rate_trials.follow(trainer, begin)
        last = [begin["learning_rate"], *suggestions][-1]
        advised.append(
            {
                "begin": begin["learning_rate"],
                "suggestions": suggestions,
                "final_loss": final_loss(last),
            }
        )
    others = find_by_range() | {"default": choice.learning_rate}
    return {
        "optimizer": choice.label,
        "seed": seed,
        "grid": grid,
        "advised": advised,
        "others": {
            name: {"learning_rate": rate, "final_loss": final_loss(rate)}
            for name, rate in others.items()
        },
        "seconds": time.perf_counter() - began,
    }


def find_by_range(task, choice, seed, data_dir=None):
    """Returns the rates that the range test gives, as `range_steepest` and `range_minimum`."""
    found = range_test.run(task, choice.name, seed, data_dir)
    return {f"range_{name}": rate for name, rate in found.items()}
