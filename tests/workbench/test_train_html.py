"""The Train tab's panels as HTML."""

from __future__ import annotations

from typing import Any

import pytest

from training.presets import get_preset
from workbench.runs.alerts import Alert
from workbench.runs.checks import Check
from workbench.runs.draft import Draft
from workbench.runs.gpus import Gpu, Machine
from workbench.runs.row import RunRow
from workbench.train_html import (
    duration,
    render_broken_plan,
    render_head,
    render_machine,
    render_message,
    render_plan,
    render_runs,
    render_settings,
)

ATTACK = '<img src=x onerror="alert(1)">'


def row(**changes: Any) -> RunRow:
    """A running row with changes."""
    fields = dict(
        id="first", stage="stage1", state="running", reason="", place=None, devices=("cpu",), num_processes=1,
        preset="smoke", created=1.0, step=3, total=10, elapsed_seconds=30.0, eta_seconds=70.0,
        heartbeat_age_seconds=1.0, is_stalled=False, requests={}, error_lines=(),
        actions=frozenset({"stop", "kill", "save", "evaluate", "clone"}), has_checkpoint=False,
    )  # fmt: skip
    return RunRow(**{**fields, **changes})


def test_no_runs_says_what_to_do() -> None:
    assert "No runs yet" in render_runs([])


def test_a_run_that_has_ended_does_not_go_on() -> None:
    assert "30 s so far" in render_head(row())
    assert "ran for 30 s" in render_head(row(state="finished", eta_seconds=None))


def test_only_possible_actions_have_buttons() -> None:
    page = render_head(row())
    for act in ("stop", "kill", "save", "evaluate", "clone", "again"):
        assert f'data-act="{act}"' in page
    for act in ("resume", "chain", "hold", "cancel"):
        assert f'data-act="{act}"' not in page
    assert 'data-act="resume"' in render_head(row(state="crashed", actions=frozenset({"resume"})))


def test_an_open_request_is_said_and_cannot_be_asked_twice() -> None:
    page = render_head(row(requests={"stop": "asked", "save": "seen"}))
    assert "Stop and save: asked …" in page and "Save: after this step …" in page
    assert page.count(" disabled") == 2


def test_the_queue_comes_first_and_its_ends_cannot_be_passed() -> None:
    actions = frozenset({"hold", "cancel", "reorder"})
    waiting = [
        row(id=name, state="waiting", place=place, reason="waits for run first to finish", actions=actions)
        for place, name in enumerate(("a", "b"), start=1)
    ]
    page = render_runs([*waiting, row()])
    assert page.index(">Queue<") < page.index('data-id="a"') < page.index(">Runs<") < page.index('data-id="first"')
    assert page.count('data-act="reorder"') == 4 and page.count(" disabled aria-label") == 2
    assert 'data-run="a" data-place="2"' in page and "waits for run first to finish" in page


def test_a_stalled_run_is_not_shown_as_simply_running() -> None:
    stalled = row(is_stalled=True, heartbeat_age_seconds=125.0)
    assert "tr-stalled" in render_runs([stalled])
    assert "no heartbeat for 2 min 5 s" in render_head(stalled)


def test_a_crash_shows_its_last_lines() -> None:
    page = render_head(row(state="crashed", reason="the process ended", error_lines=("one", "killed by <9>")))
    assert "one\nkilled by &lt;9&gt;" in page and "tr-bad" in page


def test_hostile_text_stays_text_in_every_panel() -> None:
    bad = row(id=ATTACK, reason=ATTACK, error_lines=(ATTACK,), preset=ATTACK)
    alert = Alert(kind="nan", level="error", step=1, reason=ATTACK)
    event = {"time": 1.0, "step": ATTACK, "event": ATTACK, "reason": ATTACK, ATTACK: ATTACK}
    gpu = Gpu(device="gpu0", name=ATTACK, total_bytes=1, used_bytes=0)
    machine = Machine(gpus=(gpu,), cpu_share=0, num_cores=1, ram_total_bytes=1, ram_used_bytes=0, disk_total_bytes=1,
                      disk_free_bytes=1)
    pages = [
        render_runs([bad]), render_machine(machine),
        render_head(bad, alerts=[alert], met=[event], events=[event], command=ATTACK),
        render_settings({ATTACK: {ATTACK: ATTACK}, "b": {}}), render_message(ATTACK, run_id=ATTACK),
        render_broken_plan(ATTACK, key=ATTACK),
    ]  # fmt: skip
    assert [page for page in pages if "<img" in page or 'onerror="' in page] == []


@pytest.mark.parametrize(
    ("share", "shown"), [(-0.5, 'value="0.000"'), (1.7, 'value="1.000"')]
)
def test_a_meter_never_leaves_its_scale(share: float, shown: str) -> None:
    machine = Machine(gpus=(), cpu_share=share, num_cores=2, ram_total_bytes=0, ram_used_bytes=0, disk_total_bytes=0,
                      disk_free_bytes=0)
    assert shown in render_machine(machine) and "No NVIDIA GPU" in render_machine(machine)


@pytest.fixture
def draft(tmp_path) -> Draft:
    """The smoke preset's SFT, not launched."""
    return Draft(stage="sft", config=get_preset("smoke").sft, out=tmp_path / "run one", preset="smoke")


def test_the_plan_shows_the_very_command_checks_and_difference(draft: Draft) -> None:
    checks = [Check(name="Free disk", level="ok", reason="70 GiB"), Check(name="Model", level="warning", reason="big")]
    page = render_plan([draft], [("optim.num_steps", 200, 30)], checks, preset="smoke")
    assert "training.cli train sft" in page and "run one" in page
    assert "optim.num_steps" in page and ">200<" in page and ">30<" in page
    assert 'data-act="launch">Launch<' in page


def test_a_failed_check_keeps_the_launch_button_closed(draft: Draft) -> None:
    page = render_plan([draft], [], [Check(name="Model", level="error", reason="not there")], preset="smoke")
    assert 'data-act="launch" disabled' in page and "1 check must pass first" in page


def test_a_demo_says_why_it_does_not_launch_and_still_shows_the_command(draft: Draft) -> None:
    page = render_plan([draft], [], [], preset="smoke", refusal="This is a demo.")
    assert 'data-act="launch" disabled' in page and "This is a demo." in page and "training.cli" in page


def test_a_wrong_form_names_its_setting_and_cannot_be_launched() -> None:
    page = render_broken_plan("config field 'optim.seed': -1 is not allowed", key="optim.seed")
    assert 'data-wrong="optim.seed"' in page and 'data-act="launch" disabled' in page


def test_settings_of_two_runs_show_what_differs_first() -> None:
    page = render_settings({"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3, "z": 4}})
    assert page.index("2 settings differ") < page.index("<code>y</code>") < page.index("1 equal settings")
    assert "All settings of this run" in render_settings({"a": {"x": 1}})
    assert "the same settings" in render_settings({"a": {"x": 1}, "b": {"x": 1}})


def test_durations_round_to_what_a_person_reads() -> None:
    assert [duration(s) for s in (59.6, 3600, 86_400, -3)] == ["1 min", "1 h", "1 d", "0 s"]
