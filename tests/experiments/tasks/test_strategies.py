"""Tests of runs over several devices."""

import subprocess
import sys

import pytest

from experiments.runs import comparison
from experiments.tasks import strategies
from experiments.tasks.errors import UsageError


def test_one_run_over_several_devices(data_dir, tmp_path):
    """Here one; weights start from other draws under a strategy, so the losses are near only."""
    task = {"task": "digits_classifier", "optimizer": "sgd", "learning_rate": 0.1, "seed": 0}
    plain = comparison.train(comparison.Run(**task, steps=5, data_dir=data_dir))
    spread = comparison.train(
        comparison.Run(**task, steps=5, data_dir=data_dir, strategy="mirrored")
    )
    assert spread["losses"][0] == pytest.approx(plain["losses"][0], rel=0.3)
    assert spread["final_loss"] < spread["losses"][0]


_TWO_WORKERS = """
import json, os, sys
workers = {"worker": ["localhost:23451", "localhost:23452"]}
task = {"type": "worker", "index": int(sys.argv[1])}
os.environ["TF_CONFIG"] = json.dumps({"cluster": workers, "task": task})
from experiments.runs import comparison
from experiments.tasks.errors import UsageError
run = comparison.Run(
    "digits_classifier", "sgd", 0.1, 0, 5, data_dir=sys.argv[2], strategy="multi_worker"
)
try:
    assert comparison.train(run)["final_loss"] > 0
except UsageError as error:
    assert "cannot train one model on several workers" in str(error)
"""


@pytest.mark.slow
def test_several_workers_train_or_are_told_that_keras_cannot(data_dir):
    command = [sys.executable, "-c", _TWO_WORKERS]
    workers = [subprocess.Popen([*command, str(index), data_dir]) for index in range(2)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]


def test_a_missing_tpu_is_told(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(UsageError, match="--strategy=tpu: .* Set TPU_NAME"):
        strategies.get("tpu")
