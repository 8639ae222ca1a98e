"""The Taylor optimum of a run, and its decomposition."""
