"""Tests of importing TensorFlow without its greetings."""

import os
import subprocess
import sys

from experiments import startup


def test_only_greetings_are_left_out():
    text = (
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        b"I0000 00:00:1795612713.775034   25478 port.cc:153] oneDNN custom operations are on.\n"
        b"E0000 00:00:1795612713.775034   25478 cuda.cc:1] no device\n"
        b"W0000 00:00:1795612713.775034   25478 some.cc:1] a warning\n"
        b"Traceback (most recent call last):\n"
    )
    found = startup.without_noise(text)
    assert found.splitlines() == text.splitlines()[2:]
    assert startup.without_noise(b"") == b""


def test_what_a_failing_import_writes_is_not_lost(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'I0000 greeting\\nthe cause\\n')\nraise ImportError('broken')\n"
    )
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import runpy; runpy.run_path(" + repr(startup.__file__) + ")['import_tensorflow']()",
        ],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert found.stderr.startswith("the cause\nTraceback")
    assert "ImportError: broken" in found.stderr
