"""What `tensorboard --logdir=<output_dir>/tensorboard` shows of the experiments.

During training, `keras_taylor.callbacks.RegretSummaries` writes. This module writes the results
after training. Each run has its own directory, which also holds its hyperparameters.
"""

import shutil

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

DIRECTORY = "tensorboard"
HYPERPARAMETERS = ("task", "optimizer", "learning_rate", "seed")
FINAL_LOSS = "final_loss"
SPLIT = (
    "average_loss",
    "optimum_lower",
    "optimum_upper",
    "average_regret_lower",
    "average_regret_upper",
)


def write_comparison(directory, runs):
    """Writes the losses of a comparison's runs and the table of their hyperparameters.

    Logs that are already there are removed first.

    Args:
        directory: The directory of the results.
        runs: The runs by name, as `experiments.runs.comparison.train` returns them.
    """
    logs = directory / DIRECTORY
    clear(logs)
    with _writer(logs).as_default(step=0):
        hparams.hparams_config(
            hparams=[hparams.HParam(name) for name in HYPERPARAMETERS],
            metrics=[hparams.Metric(FINAL_LOSS, display_name="final loss")],
        )
    for name, run in runs.items():
        with _writer(logs / name).as_default():
            _write_run(run)


def _write_run(run):
    hparams.hparams({name: run[name] for name in HYPERPARAMETERS})
    for step, loss in zip(run["loss_rounds"], run["losses"], strict=True):
        if loss is not None:
            tf.summary.scalar("loss", loss, step=step)
    if run["final_loss"] is not None:
        tf.summary.scalar(FINAL_LOSS, run["final_loss"], step=run["steps"])
    for name, value in run["metrics"].items():
        tf.summary.scalar(f"final_{name}", value, step=run["steps"])


def write_decomposition(log_dir, rows):
    """Writes average loss, optimum and average regret, as certified intervals, by horizon.

    Args:
        log_dir: The directory of the run.
        rows: Rows of a decomposition.
    """
    with _writer(log_dir).as_default():
        for row in rows:
            for name in SPLIT:
                tag = f"decomposition_{name}/{row['part']}"
                tf.summary.scalar(tag, row[name], step=row["rounds"])


def clear(log_dir):
    """Removes the logs of an interrupted run; does nothing for `None`."""
    if log_dir is not None:
        shutil.rmtree(log_dir, ignore_errors=True)


def session(log_dir, values):
    """Returns a callback that writes a run's hyperparameters, and whether it ended well."""
    return hparams.KerasCallback(str(log_dir), values)


def _writer(directory):
    return tf.summary.create_file_writer(str(directory))
