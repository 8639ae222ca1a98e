"""How benchmarks write their measurements: the flag that names a JSON file."""

from absl import flags

from experiments.runs import results

OUTPUT = flags.DEFINE_string("output", None, "JSON file to write; none if unset.")


def write(report):
    """Writes a report with versions and machine to the file of `--output`, if there is one."""
    if OUTPUT.value:
        results.write_json(OUTPUT.value, report | {"environment": results.environment()})
