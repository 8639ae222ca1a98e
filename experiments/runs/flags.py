"""Command-line flags of the binaries: one table, from which each takes those of its settings."""

import contextlib
import dataclasses
import functools
import math
import sys

from absl import app, flags, logging

from experiments.runs import presets, readings, rounds
from experiments.tasks import optimizers, shattering_networks, strategies, tasks
from experiments.tasks.errors import UsageError


class PositiveParser(flags.FloatParser):
    """Parses a positive, finite number."""

    syntactic_help = "a positive number"

    def is_outside_bounds(self, value):
        """Returns whether the number is anything else; NaN is."""
        return not 0 < value < math.inf


class ListParser(flags.ArgumentParser):
    """Parses a list with commas, each item by a parser of absl that checks its bounds.

    An item that is there twice is refused, and an empty list unless it `may_be_empty`.
    """

    def __init__(self, item, may_be_empty=False):
        super().__init__()
        self.item, self.may_be_empty = item, may_be_empty
        self.syntactic_help = f"a list of: {item.syntactic_help or 'names'}"

    def parse(self, argument):
        """Returns the items as a tuple; a default is a tuple already."""
        if isinstance(argument, str):
            argument = argument.split(",") if argument.strip() else ()
        items = tuple(
            self.item.parse(each.strip() if isinstance(each, str) else each) for each in argument
        )
        repeated = [item for item in dict.fromkeys(items) if items.count(item) > 1]
        if repeated:
            raise UsageError(f"{repeated[0]!r} is listed twice: list each once")
        if not items and not self.may_be_empty:
            raise UsageError(f"the list is empty: expected {self.syntactic_help}")
        return items

    def flag_type(self):
        return f"list of {self.item.flag_type()}"


class OptimizersParser(ListParser):
    """Parses a list of optimizers, which stay texts."""

    def __init__(self):
        # `parse_all` says what is missing.
        super().__init__(flags.ArgumentParser(), may_be_empty=True)

    def parse(self, argument):
        """Returns the texts as a tuple, if each of them is an optimizer."""
        texts = super().parse(argument)
        # A UsageError is a ValueError, which absl reports together with the flag.
        optimizers.parse_all(texts)
        return texts


class ListSerializer(flags.ArgumentSerializer):
    """Writes a list with commas, as `ListParser` reads it."""

    def serialize(self, value):
        return ",".join(map(str, value))


def _list(parser, name, default, text, flag_values):
    flags.DEFINE(parser, name, default, text, flag_values, ListSerializer())


def _enum(values, name, default, text, flag_values):
    flags.DEFINE_enum(name, default, list(values), text, flag_values)


def _integer(lower_bound, name, default, text, flag_values, upper_bound=None):
    flags.DEFINE_integer(name, default, text, lower_bound, upper_bound, flag_values)


def _positive(name, default, text, flag_values):
    flags.DEFINE(PositiveParser(), name, default, text, flag_values)


def _string(name, default, text, flag_values):
    flags.DEFINE_string(name, default, text, flag_values)


def _bool(name, default, text, flag_values):
    flags.DEFINE_bool(name, default, text, flag_values)


_count = functools.partial(_integer, 1)
_seed = functools.partial(_integer, 0, upper_bound=2**32 - 1)
_optimizers = functools.partial(_list, OptimizersParser())
_texts = functools.partial(_list, ListParser(flags.ArgumentParser()))
_kinds = functools.partial(_list, ListParser(flags.EnumParser(list(shattering_networks.KINDS))))
_comparators = functools.partial(
    _list, ListParser(flags.EnumParser(list(readings.COMPARATORS)), may_be_empty=True)
)
_counts = functools.partial(_list, ListParser(flags.IntegerParser(lower_bound=1)))
_positive_list = functools.partial(_list, ListParser(PositiveParser(), may_be_empty=True))

# By the name of a field of the settings: how its flag is defined, and its help text.
FLAGS = {
    "task": (functools.partial(_enum, tasks.TASKS), "What is trained on what."),
    "preset": (functools.partial(_enum, presets.PRESETS), "How large the reproduction is."),
    "optimizers": (
        _optimizers,
        f"Any of {', '.join(optimizers.OPTIMIZERS)}; name:rate sets a learning rate.",
    ),
    "epochs": (_count, "Passes over the data; the task's own number if unset."),
    "max_steps": (_count, "Stop after this many rounds."),
    "burn_in": (
        functools.partial(_integer, 0),
        "Rounds before the recorded ones; if unset, the recorded ones are the last of the run.",
    ),
    "recorded_rounds": (_count, f"Rounds to decompose; {rounds.RECORDED} if unset."),
    "sample": (_count, "Rounds to keep, as a random sample of the whole run; all if unset."),
    "examples": (_count, "Examples to keep of each round, drawn at random; all if unset."),
    "units": (
        functools.partial(_integer, 0),
        "Units to decompose of each layer, evenly spread; as many as it has takes all.",
    ),
    "tolerance": (_positive, "Gap of the optima, relative to the value."),
    "max_passes": (_count, "Most passes of a solve; its interval is valid, but may stay wide."),
    "parts": (_texts, "Parts to decompose: network, layers, layer:<key>, ..."),
    "horizons": (_count, "How many horizons N to decompose, log-spaced up to all rounds."),
    "radius": (_positive, "Radius of the comparators; by default the distance travelled."),
    "keep_trajectories": (_bool, "Keep the recorded rounds beside the results (large)."),
    "comparators": (
        _comparators,
        "Comparators whose exact Taylor losses are computed at each step; if empty, steps take less"
        " time, for a convolutional network two thirds of it.",
    ),
    "seed": (_seed, "The first seed, of the weights and of the order of the data."),
    "seeds": (_count, "Runs with different seeds, from --seed on."),
    "learning_rates": (
        _positive_list,
        "Rates for all optimizers; if unset, several around each one's own.",
    ),
    "extensions": (
        functools.partial(_integer, 0),
        "Most rates beyond an end of the grid; none with --learning_rates.",
    ),
    "workers": (_count, "Processes that train at the same time on this machine."),
    "ray_address": (_string, "Address of a Ray cluster to train on."),
    "strategy": (functools.partial(_enum, strategies.STRATEGIES), "Devices of each run."),
    "kinds": (_kinds, "Kinds of networks."),
    "depths": (_counts, "Numbers of hidden layers."),
    "width": (_count, "Units of each hidden layer."),
    "lines": (_count, "Lines between two digits."),
    "points": (functools.partial(_integer, 2), "Inputs on each line."),
    "data_dir": (_string, "Directory of prepared TensorFlow Datasets."),
    "output_dir": (_string, "Directory of the results; out/... if unset."),
    "condensed_dir": (_string, "Directory for a small copy of the results, with their report."),
    "report_only": (_bool, "Make the report of finished results again."),
}


def define_flags(default, flag_values=flags.FLAGS):
    """Defines a flag for each field of settings that has one, with its value as the default.

    Args:
        default: Settings, from `experiments.runs.settings`.
        flag_values: An `absl.flags.FlagValues`.
    """
    for name in _names(type(default)):
        define, text = FLAGS[name]
        define(name, getattr(default, name), text, flag_values=flag_values)


def settings_from_flags(kind, flag_values=flags.FLAGS):
    """Returns the settings of a class that the parsed flags describe."""
    return kind(**{name: getattr(flag_values, name) for name in _names(kind)})


def _names(kind):
    return [field.name for field in dataclasses.fields(kind) if field.name in FLAGS]


def run_binary(main, default):
    """Runs `main(settings)` on the command line, with `one_line_errors`.

    Args:
        main: Function of the settings.
        default: Settings with the binary's defaults.
    """
    define_flags(default)
    for name in _names(type(default)):
        # Else --help, which lists the flags of the main module, would leave them out.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

    def run(arguments):
        if not flags.FLAGS["verbosity"].present:
            # TensorFlow Datasets logs each read; tables and errors say what matters.
            logging.set_verbosity(logging.ERROR)
        with one_line_errors():
            if len(arguments) > 1:
                raise UsageError(f"unexpected argument {arguments[1]!r}: flags start with --")
            main(settings_from_flags(type(default)))

    app.run(run, flags_parser=_parse)


@contextlib.contextmanager
def one_line_errors():
    """Ends the process with one line, without a traceback, on what the user can mend.

    That is a mistake in the flags, a disk that is full or may not be written, a cluster that does
    not answer, and an interruption.
    """
    try:
        yield
    except (UsageError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on with the runs that are missing")


def _parse(arguments):
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit("error: " + " ".join(str(error).split()))
