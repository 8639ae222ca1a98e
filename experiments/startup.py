"""Importing TensorFlow without the lines that its C++ code prints on the way."""

import os
import re
import sys
import tempfile
import warnings

# TensorFlow writes these before it reads TF_CPP_MIN_LOG_LEVEL, so no setting removes them.
NOISE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I\d{4} |To enable the following instr"
)


def import_tensorflow():
    """Imports TensorFlow; what it writes to the error stream follows, without its greetings."""
    if "tensorflow" in sys.modules:
        return
    # TensorFlow 2.20 has code from an earlier protobuf, whose newer ones warn in a hundred lines.
    warnings.filterwarnings("ignore", "Protobuf gencode version", UserWarning)
    sys.stderr.flush()
    error_stream = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import tensorflow  # noqa: F401 (imported for what it prints)
        finally:
            sys.stderr.flush()
            os.dup2(error_stream, 2)
            os.close(error_stream)
            written.seek(0)
            os.write(2, without_noise(written.read()))


def without_noise(text):
    """Returns the lines of a text, as bytes, that are not greetings of TensorFlow."""
    lines = text.splitlines(keepends=True)
    return b"".join(line for line in lines if not NOISE.match(line))
