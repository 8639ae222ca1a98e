"""Tests of what the experiments write for TensorBoard."""

import pytest
from tensorboard.plugins.hparams import plugin_data_pb2

from experiments.runs import event_logs


def _run(optimizer="sgd", rate=0.1, losses=(3.0, 2.0), **fields):
    return {
        "task": "digits_classifier",
        "optimizer": optimizer,
        "learning_rate": rate,
        "seed": 0,
        "steps": 20,
        "loss_rounds": [1, 20],
        "losses": list(losses),
        "final_loss": losses[-1],
        "metrics": {"accuracy": 0.5},
    } | fields


def _hyperparameters(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory)).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: value.string_value or value.number_value for name, value in found.items()}


def test_a_comparison_has_losses_and_hyperparameters(tmp_path, read_summaries):
    diverged = _run("adam", 10.0, (3.0, None), final_loss=None, metrics={}, diverged=True)
    for _ in range(2):
        event_logs.write_comparison(tmp_path, {"good": _run(), "bad": diverged})
    logs = tmp_path / event_logs.DIRECTORY
    found = read_summaries(logs / "good")
    assert [(step, float(value)) for step, value in found["loss"]] == [(1, 3.0), (20, 2.0)]
    assert found["final_loss"] == [(20, 2.0)]
    assert found["final_accuracy"] == [(20, 0.5)]
    expected = {"task": "digits_classifier", "optimizer": "sgd", "learning_rate": 0.1, "seed": 0}
    assert _hyperparameters(logs / "good") == pytest.approx(expected)
    assert set(read_summaries(logs / "bad")) == {"loss", "_hparams_/session_start_info"}
    assert "_hparams_/experiment" in read_summaries(logs)


def test_a_decomposition_has_intervals_over_rounds(tmp_path, read_summaries):
    rows = [
        {name: rounds + index for index, name in enumerate(event_logs.SPLIT)}
        | {"part": "layer:a", "rounds": rounds}
        for rounds in (10, 100)
    ]
    event_logs.write_decomposition(tmp_path, rows)
    found = read_summaries(tmp_path)
    for index, name in enumerate(event_logs.SPLIT):
        values = found[f"decomposition_{name}/layer:a"]
        assert values == [(10, 10 + index), (100, 100 + index)]
