"""Weights as a few matrices whose columns belong to units, and their sums over units.

A step of a small network costs what calling its operations costs, so small weights share one row,
which is worked on as a whole. Large ones do not: a copy of them would cost more than the calls.
"""

import dataclasses
import itertools
import math

from keras import ops

from keras_taylor import backend

# The entries that the row may have, apart from vectors: temporary copies of more cost page faults.
ROW = 16384


@dataclasses.dataclass(frozen=True)
class Piece:
    """Weights as one matrix: one weight with its units as columns, or many, flat, in one row.

    Args:
        weights: The indices of the weights in the list of all weights.
        rows: The number of rows; 1 for the shared row.
        columns: The number of columns that each of the weights fills.
    """

    weights: tuple
    rows: int
    columns: tuple


class Pieces:
    """A cut of weights into matrices `(rows, columns)` in which each column belongs to one unit.

    Args:
        shapes: The shapes of the weights.
        unit_counts: The number of units of each weight: its last axes, flattened.
        first_units: The number of each weight's first unit, among all units. Two weights have the
            same units or none in common, and each unit has a weight.

    Attributes:
        pieces: The `Piece`s: one for each large weight, then the shared row, if it is needed.

    Example:

    >>> kernel, bias = np.ones((3, 2)), np.array([1.0, 2.0])
    >>> cut = Pieces([(3, 2), (2,)], unit_counts=[2, 2], first_units=[0, 0])
    >>> cut.unit_sums(cut.matrices([kernel, bias])).numpy()
    array([4., 5.])
    """

    def __init__(self, shapes, unit_counts, first_units):
        self._shapes, self._unit_counts = shapes, unit_counts
        self._sizes = [math.prod(shape) for shape in shapes]
        self._rows = [size // units for size, units in zip(self._sizes, unit_counts, strict=True)]
        slots = _slots(unit_counts, first_units)
        in_order = [index for slot in slots for index, _ in slot if index is not None]
        shared = self._shared()
        self._large = [index for index in in_order if index not in shared]
        # In the order of the slots, so that vectors of one slot lie side by side.
        self._small = [index for index in in_order if index in shared]
        self._slots = [self._parts(slot) for slot in slots]
        self.pieces = [Piece((i,), self._rows[i], (unit_counts[i],)) for i in self._large]
        if self._small:
            columns = tuple(self._sizes[index] for index in self._small)
            self.pieces.append(Piece(tuple(self._small), 1, columns))

    def matrices(self, tensors):
        """Returns tensors shaped like the weights as matrices `(rows, columns)`, one a piece.

        Of large weights the tensors may have other numbers of rows.
        """
        matrices = [
            ops.reshape(tensors[index], (-1, self._unit_counts[index])) for index in self._large
        ]
        if self._small:
            flat = [
                tensors[index]
                if len(self._shapes[index]) == 1
                else ops.reshape(tensors[index], (-1,))
                for index in self._small
            ]
            matrices.append(ops.reshape(_joined(flat, axis=0), (1, -1)))
        return matrices

    def tensors(self, matrices):
        """Returns matrices, one for each piece, as tensors shaped like the weights."""
        result = [None] * len(self._shapes)
        for piece, matrix in zip(self.pieces, matrices, strict=True):
            ends = itertools.accumulate(piece.columns)
            for index, columns, end in zip(piece.weights, piece.columns, ends, strict=True):
                own = matrix[:, end - columns : end]
                result[index] = ops.reshape(own, self._shapes[index])
        return result

    def unit_sums(self, matrices):
        """Returns the sum over the entries of each unit, `(unit_count,)`.

        Args:
            matrices: Matrices `(rows, columns)`, one for each piece.
        """
        large = matrices[: len(self._large)]
        columns = list(map(backend.column_sums, large))
        return self._by_unit(columns, matrices[-1])[0]

    def inner_products(self, pairs):
        """Returns the inner products of the units of pairs, `(pairs, unit_count)`.

        Args:
            pairs: Pairs of lists of matrices `(rows, columns)`, one matrix for each piece.
        """
        columns = [
            _joined([backend.column_sums(one[i] * other[i]) for one, other in pairs], axis=0)
            for i in range(len(self._large))
        ]
        rows = [one[-1] * other[-1] for one, other in pairs] if self._small else []
        return self._by_unit(columns, _joined(rows, axis=0) if rows else None)

    def _by_unit(self, columns, rows):
        """Returns sums over the entries of each unit, `(sums, unit_count)`.

        Args:
            columns: The sums over each column of the large weights, `(sums, columns)` each.
            rows: The shared rows to be summed, `(sums, entries)`.
        """
        found = {(index,): own for index, own in zip(self._large, columns, strict=True)}
        if self._small:
            found |= self._row_sums(rows)
        count, dtype = next((own.shape[0], own.dtype) for own in found.values())
        totals = [
            _joined(
                [ops.zeros((count, p), dtype) if isinstance(p, int) else found[p] for p in slot],
                axis=1,
            )
            for slot in self._slots
        ]
        return sum(totals[1:], totals[0])

    def _row_sums(self, rows):
        """Returns the sums of the shared row, for the weights of each part: `(lists, units)`."""
        row = set(self._small)
        parts = [p for s in self._slots for p in s if not isinstance(p, int) and p[0] in row]
        ends = list(itertools.accumulate(sum(self._sizes[i] for i in part) for part in parts))
        entries = ops.split(rows, ends[:-1], axis=1) if len(parts) > 1 else [rows]
        return {
            part: own if self._rows[part[0]] == 1 else self._row_sum(part[0], own)
            for part, own in zip(parts, entries, strict=True)
        }

    def _row_sum(self, index, entries):
        shape = (entries.shape[0], self._rows[index], self._unit_counts[index])
        return ops.sum(ops.reshape(entries, shape), axis=1)

    def _shared(self):
        """Returns the weights in the row: all vectors, and the smallest others, as they fit."""
        vectors = {index for index, rows in enumerate(self._rows) if rows == 1}
        others = sorted(set(range(len(self._rows))) - vectors, key=self._sizes.__getitem__)
        ends = itertools.accumulate(self._sizes[index] for index in others)
        return vectors | {i for i, end in zip(others, ends, strict=True) if end <= ROW}

    def _parts(self, slot):
        """Returns a slot with vectors that follow each other as one part, and gaps as lengths."""

        def kind(pair):
            index, _ = pair
            return "gap" if index is None else "vector" if self._rows[index] == 1 else index

        parts = []
        for found, pairs in itertools.groupby(slot, kind):
            indices, lengths = zip(*pairs, strict=True)
            parts.append(sum(lengths) if found == "gap" else indices)
        return parts


def _slots(unit_counts, first_units):
    """Returns lists of weights of which each has all units once, in order.

    They hold pairs of a weight and its number of units. The weight is `None` where the units have
    fewer weights than others.
    """
    by_units = {}
    for index, first in enumerate(first_units):
        by_units.setdefault(first, []).append(index)
    weights = [by_units[first] for first in sorted(by_units)]
    lengths = [unit_counts[indices[0]] for indices in weights]
    return [list(zip(slot, lengths, strict=True)) for slot in itertools.zip_longest(*weights)]


def _joined(tensors, axis):
    return tensors[0] if len(tensors) == 1 else ops.concatenate(tensors, axis=axis)
