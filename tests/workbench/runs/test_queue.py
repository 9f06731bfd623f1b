"""Whose turn it is."""

from pathlib import Path

import pytest

from training.config import SftConfig
from workbench.runs.draft import Draft
from workbench.runs.queue import HELD, WAITING, Entry, whose_turn

ALL = ("cpu", "gpu0", "gpu1")


def _entry(run_id, *devices, state=WAITING, after=""):
    draft = Draft(
        stage="sft", config=SftConfig(), out=Path("/runs") / run_id, devices=devices, after=after,
        num_processes=max(1, len(devices)),
    )  # fmt: skip
    return Entry(id=run_id, draft=draft, state=state, place=1.0, created=0.0)


@pytest.mark.parametrize(
    ("waiting", "busy", "started", "reasons"),
    [
        ([], {}, [], {}),
        ([_entry("a", "cpu"), _entry("b", "gpu0")], {}, ["a", "b"], {}),
        ([_entry("a", "cpu"), _entry("b", "cpu")], {}, ["a"], {"b": "waits for cpu, for which run a comes first"}),
        ([_entry("a", "gpu0")], {"gpu0": "x"}, [], {"a": "waits for gpu0, which run x uses"}),
        (  # a small run does not overtake a large one that was there first
            [_entry("large", "gpu0", "gpu1"), _entry("small", "gpu1")], {"gpu0": "x"}, [],
            {"large": "waits for gpu0, which run x uses", "small": "waits for gpu1, for which run large comes first"},
        ),
        ([_entry("a", "cpu", state=HELD), _entry("b", "cpu")], {}, ["b"], {"a": "held by a person"}),
        ([_entry("a", "cpu", after="x"), _entry("b", "cpu")], {}, ["b"], {"a": "waits for run x to finish"}),
        (
            [_entry("a", "gpu7")], {}, [],
            {"a": "waits for gpu7, which this machine does not have now: cancel it, or bring the device back"},
        ),
    ],
)  # fmt: skip
def test_whose_turn_it_is(waiting, busy, started, reasons):
    turn, why = whose_turn(waiting, busy, {"x": "running"}, ALL)
    assert ([entry.id for entry in turn], why) == (started, reasons)


@pytest.mark.parametrize("state", ["failed", "stopped", "crashed", "killed", "cancelled", "gone"])
def test_a_run_after_one_that_will_not_finish_waits_and_says_so(state):
    states = {} if state == "gone" else {"x": state}
    turn, why = whose_turn([_entry("a", "cpu", after="x")], {}, states, ALL)
    assert turn == [] and f"which is {state}" in why["a"]
