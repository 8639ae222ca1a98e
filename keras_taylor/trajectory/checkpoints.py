"""What training needs to go on exactly where it stopped, in one file."""

import json
import zipfile

import numpy as np

from keras_taylor.trajectory.replacing import write_arrays

CHECKPOINT = "checkpoint.npz"
# How names of sums in the file begin.
SUM = "sum_"


class Checkpoint:
    """The variables of a model, of its optimizer and of a `TaylorModel`'s comparators, in a file.

    Args:
        model: A compiled model.
        path: The directory of the file.

    Attributes:
        shards: The number of rounds in each shard that was complete when the state was saved.
        sums: What `keras_taylor.trajectory.run_sums.RunSums.state` gave then; else empty.
    """

    def __init__(self, model, path):
        self._model, self._file, self.shards, self.sums = model, path / CHECKPOINT, [], {}

    def save(self, number, shards, sums=None):
        """Saves the state before a round.

        Args:
            number: The number of the round.
            shards: The number of rounds in each shard that is complete.
            sums: Arrays by name, which `sums` gives back.
        """
        head = json.dumps({"number": number, "shards": shards})
        named = {f"{SUM}{name}": array for name, array in (sums or {}).items()}
        write_arrays(self._file, [v.numpy() for v in self._variables()], head=head, **named)

    def restore(self):
        """Gives the model the saved state; returns the number of the round that comes next.

        Raises:
            ValueError: if there is no file, the file cannot be read, or it is from another model
                or optimizer.
        """
        try:
            with np.load(self._file) as saved:
                head = json.loads(str(saved["head"]))
                names = [name for name in saved.files if name.startswith(SUM)]
                sums = {name.removeprefix(SUM): saved[name] for name in names}
                count = len(saved.files) - len(names) - 1
                arrays = [saved[f"arr_{index}"] for index in range(count)]
        except (OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
            raise ValueError(
                f"{self._file} cannot be read, so the recording cannot go on: {error}"
            ) from error
        variables = self._variables()
        shapes = [tuple(variable.shape) for variable in variables]
        if shapes != [array.shape for array in arrays]:
            raise ValueError(
                f"{self._file} is of another model or optimizer: expected variables of shapes "
                f"{shapes}, it has {[array.shape for array in arrays]}"
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.shards, self.sums = head["shards"], sums
        return head["number"]

    def _variables(self):
        model = self._model
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        state = getattr(model, "taylor_state", None)
        return [
            *model.variables,
            *model.optimizer.variables,
            *(state.kept_variables() if state is not None else []),
        ]
