"""Tests of which rounds a sample keeps."""

import itertools

import numpy as np
import pytest

from keras_taylor.trajectory.sampling import example_numbers, strata

TOTALS = (4, 5, 7, 8, 40, 300, 1000, 16389, 18740)
SIZES = (4, 5, 8, 20, 37, 60, 600)


@pytest.mark.parametrize("separate", [False, True])
def test_strata_cut_the_run_and_keep_as_many_rounds_as_asked(separate):
    for total, size in itertools.product(TOTALS, SIZES):
        found = strata(total, min(size, total), 0, separate)
        ends = [0, *(stratum.last for stratum in found)]
        assert [stratum.first for stratum in found] == [end + 1 for end in ends[:-1]]
        assert ends[-1] == total
        assert sum(len(stratum.kept) for stratum in found) == min(size, total)
        for stratum in found:
            assert all(stratum.first <= number <= stratum.last for number in stratum.kept)


@pytest.mark.parametrize("separate", [False, True])
def test_samples_share_no_round_unless_a_stratum_is_kept_whole(separate):
    for total, size in itertools.product(TOTALS, SIZES):
        for stratum in strata(total, min(size, total), 0, separate):
            if len(stratum.kept) == stratum.size and not separate:
                assert stratum.fit == stratum.check
            else:
                assert not set(stratum.fit) & set(stratum.check)
                assert min(len(stratum.fit), len(stratum.check)) >= 2


def test_rounds_of_each_sample_stand_for_all_rounds():
    found = strata(5000, 200, 0)
    for name in ("fit", "check"):
        weights = [s.size / len(getattr(s, name)) for s in found for _ in getattr(s, name)]
        assert sum(weights) == pytest.approx(5000)
    weighed = [s.weight(number) for s in found for number in s.fit]
    assert sum(weighed) == pytest.approx(5000)


def test_every_octave_has_the_same_share():
    found = strata(2**14 - 1, 700, 0)
    kept = np.array([number for stratum in found for number in stratum.kept])
    by_octave = np.bincount(np.log2(kept).astype(int))
    # Those that are shorter than their share are kept whole.
    np.testing.assert_array_equal(by_octave[:7], 2 ** np.arange(7))
    assert by_octave[7:].max() - by_octave[7:].min() <= 1


def test_each_round_is_as_likely_as_its_weight_says():
    draws = 2000
    counts = {"fit": np.zeros(101), "check": np.zeros(101)}
    for seed in range(draws):
        found = strata(100, 30, seed)
        for name, count in counts.items():
            np.add.at(count, [n for s in found for n in getattr(s, name)], 1)
    for stratum in found:
        for name, count in counts.items():
            share = len(getattr(stratum, name)) / stratum.size
            drawn = count[stratum.first : stratum.last + 1] / draws
            error = np.sqrt(share * (1 - share) / draws)
            assert np.all(np.abs(drawn - share) <= 5 * error)


def test_the_draw_is_that_of_the_seed():
    assert strata(1000, 50, 3) == strata(1000, 50, 3)
    assert strata(1000, 50, 3) != strata(1000, 50, 4)
    np.testing.assert_array_equal(example_numbers(64, 8, 1, 5), example_numbers(64, 8, 1, 5))
    assert not np.array_equal(example_numbers(64, 8, 1, 5), example_numbers(64, 8, 1, 6))
    np.testing.assert_array_equal(example_numbers(5, 8, 1, 5), np.arange(5))


@pytest.mark.parametrize(("total", "size"), [(10, 3), (1000, 1)])
def test_too_few_rounds(total, size):
    with pytest.raises(ValueError, match="too few for a sample: expected at least 4"):
        strata(total, size, 0)
    with pytest.raises(ValueError, match="too few for a sample"):
        strata(3, 3, 0, separate=True)
