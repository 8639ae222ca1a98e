"""Every example runs, on little data, and shows what it says."""

import importlib.util
import pathlib

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def _load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parts(diagnosis):
    return [row["part"] for row in diagnosis.rows]


def test_image_classifier_gets_better_by_its_advice(capsys):
    (first_loss, first), (second_loss, _) = _load("image_classifier").main(640, 5, 16)
    assert first.network["verdict"] == "raise"
    assert second_loss < 0.98 * first_loss
    assert "raise the rate about" in capsys.readouterr().out
    assert _parts(first)[1:] == [f"layer:convnet/{n}" for n in ("conv_1", "conv_2", "logits")]


def test_transfer_learning_leaves_frozen_layers_out(capsys):
    head, both = _load("transfer_learning").main(None, examples=16, epochs=1, batch_size=8)
    assert _parts(head) == ["network", "layer:head"]
    assert set(_parts(both)) >= {"layer:head", "layer:Conv_1", "layer:block_16_project"}
    assert "too few rounds to tell: 2 of" in capsys.readouterr().out


def test_text_transformer_is_advised_on_its_peak_rate(capsys):
    found = _load("text_transformer").main(examples=220, epochs=1, batch_size=2)
    assert found.learning_rate == pytest.approx(1e-3, rel=1e-3)
    assert "peak, 0.001" in capsys.readouterr().out
    assert {"layer:attention/query", "layer:positions", "layer:logits"} < set(_parts(found))


def test_custom_train_step_hands_the_loss_to_the_tracker(capsys):
    tracker, found = _load("custom_train_step").main(examples=128, epochs=1)
    assert int(tracker.steps) == 4
    assert np.isfinite(tracker.average_loss)
    assert float(tracker.optimum_lower_bound()) <= float(tracker.average_loss)
    assert found.network["verdict"] == "too few rounds"


def test_two_optimizers_have_a_row_each(capsys):
    trackers = _load("two_optimizers").main(examples=480, epochs=2, batch_size=8)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == list(trackers) == ["SGD", "Adam"]
    assert "raise the rate" in printed[0]


def test_no_example_is_without_a_test():
    text = pathlib.Path(__file__).read_text(encoding="utf-8")
    assert all(f'_load("{path.stem}")' in text for path in EXAMPLES.glob("*.py"))
