"""What training needs to go on exactly where it stopped, in one file."""

import json

from keras_taylor.trajectory import sealed

CHECKPOINT = "checkpoint.npz"
# How names of sums in the file begin.
SUM = "sum_"


class Checkpoint:
    """The variables of a model, of its optimizer and of a `TaylorModel`'s comparators, in a file.

    Args:
        model: A compiled model.
        path: The directory of the file.

        run: The id of the run.

    Attributes:
        shards: The number of rounds in each shard that was complete when the state was saved.
        weight_error: The largest error of the weights stored until then.
        sums: What `keras_taylor.trajectory.run_sums.RunSums.state` gave then; else empty.
    """

    def __init__(self, model, path, run):
        self._model, self._file, self._run = model, path / CHECKPOINT, run
        self.shards, self.weight_error, self.sums = [], 0.0, {}

    def save(self, number, shards, weight_error=0.0, sums=None):
        """Saves the state before a round.

        Args:
            number: The number of the round.
            shards: The number of rounds in each shard that is complete.
            weight_error: The largest error of the weights stored so far.
            sums: Arrays by name, which `sums` gives back.

        Raises:
            OSError: if the disk is full.
        """
        head = json.dumps({"number": number, "shards": shards, "weight_error": weight_error})
        named = {f"{SUM}{name}": array for name, array in (sums or {}).items()}
        arrays = [v.numpy() for v in self._variables()]
        sealed.write_arrays(self._file, self._run, arrays, head=head, **named)

    def restore(self):
        """Gives the model the saved state; returns the number of the round that comes next.

        Raises:
            ValueError: if there is no file, the file is damaged or of another run, or it is from
                another model or optimizer.
        """
        try:
            arrays, named = sealed.read_arrays(self._file, self._run)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{self._file} cannot be read, so the recording cannot go on: {error}"
            ) from error
        head = json.loads(str(named.pop("head")))
        variables = self._variables()
        shapes = [tuple(variable.shape) for variable in variables]
        if shapes != [array.shape for array in arrays]:
            raise ValueError(
                f"{self._file} is of another model or optimizer: expected variables of shapes "
                f"{shapes}, it has {[array.shape for array in arrays]}"
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.shards, self.weight_error = head["shards"], head["weight_error"]
        self.sums = {name.removeprefix(SUM): array for name, array in named.items()}
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
