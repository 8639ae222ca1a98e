"""Tests of the lock on a directory, against other processes."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from keras_taylor.trajectory import locking
from keras_taylor.trajectory.locking import locked

pytestmark = pytest.mark.skipif(locking.fcntl is None, reason="no lock on this system")
# Without the package around it, which takes seconds to import.
HOLD = """
import importlib.util, pathlib, sys, time
spec = importlib.util.spec_from_file_location("locking", sys.argv[1])
locking = importlib.util.module_from_spec(spec)
spec.loader.exec_module(locking)
with locking.locked(pathlib.Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, locking.__file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path, holder):
    message = f"being recorded into by process {holder.pid} on "
    with pytest.raises(ValueError, match=message), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / locking.LOCK).exists(), "a killed process leaves the file, not the lock"
    with locked(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / locking.LOCK).read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_second_call_in_the_same_process_is_refused(tmp_path):
    with locked(tmp_path):
        second = locked(tmp_path)
        with pytest.raises(ValueError, match="being recorded into"), second:
            pass
    with locked(tmp_path):
        pass


def test_an_error_releases_it(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_only_one_of_many_holds_it_at_a_time(tmp_path):
    holding, most, entered = set(), [], []

    def hold(name):
        for _ in range(200):
            try:
                with locked(tmp_path):
                    holding.add(name)
                    most.append(len(holding))
                    entered.append(name)
                    holding.discard(name)
            except ValueError:
                pass

    threads = [threading.Thread(target=hold, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(entered) > 0


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def unknown(file, kind):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locking.fcntl, "flock", unknown)
    with pytest.warns(UserWarning, match="cannot be locked"), locked(tmp_path):
        pass
