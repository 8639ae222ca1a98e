"""Kills at random times: whatever is killed goes on, and ends as if it had not been."""

import random

import pytest
from trust import victims

pytestmark = pytest.mark.slow
# Kills of each training, and the most of one before it may end.
KILLS = {
    "record_all": 35,
    "record_sample": 35,
    "fit": 20,
    "taylor_regret": 5,
    "optimizer_comparison": 5,
}
IN_A_ROW = 5


@pytest.mark.parametrize("name", KILLS)
def test_killed_trainings_end_as_others_do(name, tmp_path, count, record_property):
    train, generator = getattr(victims, name), random.Random(0)
    # The first one starts the server of processes, too.
    _made(train, tmp_path / "warm").run()
    whole = _made(train, tmp_path / "whole")
    seconds = whole.run()
    expected = whole.result()
    assert expected is not None, (tmp_path / "whole" / "stderr").read_text()[-2000:]
    wanted, kills, ended, differing, lost = count(KILLS[name]), 0, 0, 0, []
    while kills < wanted:
        victim = _made(train, tmp_path / f"victim-{ended}")
        for _ in range(min(IN_A_ROW, wanted - kills)):
            ended_after = victim.run(generator.uniform(0.1, 1) * seconds)
            if ended_after is not None:
                # The machine is less busy than it was.
                seconds = min(seconds, ended_after)
                break
            kills += 1
        victim.run()
        ended += 1
        found = victim.result()
        if found is None:
            lost.append((tmp_path / f"victim-{ended - 1}" / "stderr").read_text()[-2000:])
        differing += found is not None and found != expected
    record_property("seconds of one", round(seconds, 1))
    for what, value in {"kills": kills, "ended": ended, "lost": len(lost)}.items():
        record_property(what, value)
    record_property("different", differing)
    assert not lost, lost[0]
    assert not differing


def _made(train, directory):
    directory.mkdir()
    return victims.Victim(train, directory)
