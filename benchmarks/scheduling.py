"""What scheduling adds to the runs of `experiments.optimizer_comparison`.

    python -m benchmarks.scheduling --output=out/scheduling.json

Takes five minutes on two cores. Trains the digits with one worker and with as many as there are
cores, and says what a worker's time is above that of the runs it trained: its start, the hand-over
of runs, the writing of their files. Workers start once, so what they add is a matter of how long
they have to train.
"""

import os
import pathlib
import tempfile
import time

from absl import app, flags

from benchmarks import reporting
from experiments.reports import formatting
from experiments.runs import comparison

ROUNDS = flags.DEFINE_integer("rounds", 40_000, "Rounds of a run.")
RUNS = flags.DEFINE_integer("runs", 8, "Runs, of as many seeds.")
TASK = "digits_classifier"


def main(_):
    """Measures, prints the figures and writes them where asked to."""
    start = time.perf_counter()
    rows = [measure(workers) for workers in sorted({1, os.cpu_count()})]
    formatting.print_measurements("Scheduling", rows)
    reporting.write({"rows": rows, "seconds": time.perf_counter() - start})


def measure(workers):
    """Returns how long runs took by themselves and with all around them, by workers."""
    runs = [comparison.Run(TASK, "sgd", 0.01, seed, ROUNDS.value) for seed in range(RUNS.value)]
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        finished = comparison.finish_all(runs, pathlib.Path(directory), workers)
        wall = time.perf_counter() - start
    own = sum(run["seconds"] for run in finished)
    return {
        "workers": workers,
        "runs": len(runs),
        "seconds_of_runs": own,
        "seconds_of_workers": wall * workers,
        "added_share": wall * workers / own - 1,
    }


if __name__ == "__main__":
    app.run(main)
