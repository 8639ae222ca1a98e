"""What scheduling adds to the runs of `experiments.optimizer_comparison`.

    python -m benchmarks.scheduling --output=out/scheduling.json

Takes five minutes on two cores. Trains the digits with one worker and with as many as there are
cores, and compares the time of the workers with the time of their runs. The difference is the start
of the workers, the transfer of runs, and the writing of files. Workers start once, so the added
share is smaller for longer runs.
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
RUNS = flags.DEFINE_integer("runs", 8, "Number of runs, each with its own seed.")
TASK = "digits_classifier"


def main(_):
    """Measures, prints the figures and writes them where asked to."""
    began = time.perf_counter()
    rows = [measure(workers) for workers in sorted({1, os.cpu_count()})]
    formatting.print_measurements("Scheduling", rows)
    reporting.write({"rows": rows, "seconds": time.perf_counter() - began})


def measure(workers):
    """Returns the seconds of the runs, the seconds of the workers, and the share that these add."""
    runs = [comparison.Run(TASK, "sgd", 0.01, seed, ROUNDS.value) for seed in range(RUNS.value)]
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        finished = comparison.finish_all(runs, pathlib.Path(directory), workers)
        wall = time.perf_counter() - began
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
