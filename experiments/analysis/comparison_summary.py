"""What the runs of `experiments.optimizer_comparison` come to: best rates and final losses."""

from experiments.analysis import estimates

COLUMNS = (
    "task",
    "optimizer",
    "learning_rate",
    "seed",
    "steps",
    "diverged",
    "final_loss",
    "accuracy",
    "seconds",
)


def row(run):
    """Returns a run as a row of the CSV file."""
    return {name: run.get(name) for name in COLUMNS if name != "accuracy"} | {
        "accuracy": run["metrics"].get("accuracy")
    }


def summarize(grid, again):
    """Returns for each optimizer its best rate, and its final loss and accuracy over seeds."""
    summary = {}
    for optimizer in dict.fromkeys(run["optimizer"] for run in grid):
        tried = [run for run in grid if run["optimizer"] == optimizer]
        best = [run for run in again if run["optimizer"] == optimizer]
        losses = [run["final_loss"] for run in tried if run["final_loss"] is not None]
        rate = best[0]["learning_rate"] if best else None
        summary[optimizer] = {
            "best_rate": rate,
            "is_at_end": rate in (tried[0]["learning_rate"], tried[-1]["learning_rate"]),
            "rates": len(tried),
            "diverged": sum(run["diverged"] for run in tried),
            "within_ten_percent": sum(loss <= 1.1 * min(losses) for loss in losses),
            "final_loss": vars(estimates.mean([run["final_loss"] for run in best])),
            "accuracy": vars(estimates.mean([run["metrics"].get("accuracy") for run in best])),
            "by_seed": [run["final_loss"] for run in best],
        }
    return summary
