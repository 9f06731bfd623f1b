"""The loop: every way an episode can go, and the record it leaves."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError, MissingFileError, OutputError
from executors.geometry import PointNorm
from executors.simulator import SimulatorExecutor, sample_tasks
from tests.training.planner_helpers import BrokenDevice, ScriptedPlanner, easy_task, forecast_of, oracle_planner
from training.episode_record import EpisodeRecord, StopReason, load_episode, save_episode
from training.plan_act import Episode, run_batch, shows_same

NOWHERE = '1. click() | tap the "Nowhere" button'
DOWN = "1. scroll(direction='down') | scroll down"


def device(task=None) -> SimulatorExecutor:
    return SimulatorExecutor(task or easy_task(), interruption_rate=0.0)


def run(*script, **options) -> EpisodeRecord:
    return Episode(device(), ScriptedPlanner(*script), **options).run()


def test_oracles_forecasts_reach_the_goal():
    task = easy_task()
    record = Episode(device(task), oracle_planner([task])).run()
    assert (record.stop_reason, record.success, record.num_errors) == (StopReason.FINISHED, True, 0)
    assert [step.number for step in record.steps] == list(range(1, len(record.steps) + 1))
    assert all(len(step.forecast.steps) >= 1 and step.error is None for step in record.steps)
    assert len(record.steps[0].forecast.steps) == 4  # the whole forecast is kept, not only what was executed


def test_episode_can_be_taken_in_half_steps():
    task = easy_task()
    episode = Episode(device(task), oracle_planner([task]))
    first_screen = episode.start()
    forecast = episode.plan()
    assert episode.forecast is forecast
    record = episode.act()
    assert record.observation is first_screen
    assert record.action == forecast.first.action
    assert episode.forecast is None
    assert [item.instruction for item in episode.history] == [forecast.first.instruction]
    assert episode.run().success is True


def test_forecast_can_be_replaced_by_a_persons():
    episode = Episode(device(), ScriptedPlanner(NOWHERE))
    episode.start()
    episode.plan()
    episode.take(forecast_of(Action(type="finished"), "done"))
    episode.act()
    assert episode.stop_reason is StopReason.FINISHED
    assert episode.success is False


@pytest.mark.parametrize(
    ("script", "reason"),
    [("1. finished() | done", StopReason.FINISHED), ("1. call_user() | not possible", StopReason.IMPOSSIBLE)],
)
def test_terminal_actions_end_the_episode(script, reason):
    assert run(script).stop_reason is reason


def test_episode_stops_at_its_step_limit():
    record = run(DOWN, max_steps=3)
    assert (record.stop_reason, len(record.steps), record.success) == (StopReason.MAX_STEPS, 3, False)


def test_unreadable_reply_stops_at_once_and_is_no_failure_of_a_part():
    record = run("what?")
    assert (record.stop_reason, len(record.steps), record.num_errors) == (StopReason.PARSE_FAILURE, 1, 0)
    assert record.steps[0].forecast.raw == "what?"
    assert record.steps[0].boundary is None


def test_unreadable_reply_is_asked_again_when_tries_are_left():
    record = run("what?", "1. finished() | done", parse_tries=2)
    assert [step.error is None for step in record.steps] == [False, True]
    assert record.stop_reason is StopReason.FINISHED


def test_first_step_of_a_reply_that_breaks_off_is_executed():
    record = run("1. finished() | done\nand so on")
    assert record.stop_reason is StopReason.FINISHED
    assert not record.steps[0].forecast.ok


def test_step_that_fits_nothing_is_told_and_asked_again():
    planner = ScriptedPlanner(NOWHERE, DOWN, "1. finished() | done")
    record = Episode(device(), planner).run()
    assert 'no element "Nowhere"' in record.steps[0].error
    assert record.steps[0].action is None
    assert planner.asked[1].history[0].instruction == 'tap the "Nowhere" button (not done)'
    assert (record.stop_reason, record.num_errors) == (StopReason.FINISHED, 0)


def test_steps_that_fit_nothing_three_times_in_a_row_stop_the_episode():
    record = run(NOWHERE)
    assert (record.stop_reason, len(record.steps)) == (StopReason.NOT_GROUNDED, 3)


def test_failed_steps_count_toward_the_step_limit():
    assert run(NOWHERE, max_steps=2).stop_reason is StopReason.MAX_STEPS


def test_success_between_failures_starts_the_count_anew():
    assert run(NOWHERE, NOWHERE, DOWN, NOWHERE, NOWHERE, "1. finished() | done").stop_reason is StopReason.FINISHED


def test_action_that_the_device_does_not_have_is_the_planners_fault():
    record = run("1. tool_call(name='search', arguments={}) | search it")
    assert record.steps[0].error == "this device does not take tool_call"
    assert (record.stop_reason, record.num_errors) == (StopReason.NOT_GROUNDED, 0)


def test_device_that_fails_once_is_recorded_and_goes_on():
    broken = BrokenDevice(easy_task(), "execute")
    record = Episode(broken, ScriptedPlanner(DOWN, "1. finished() | done")).run()
    assert record.steps[0].boundary == "execute"
    assert "cable" in record.steps[0].error
    assert (record.stop_reason, record.num_errors) == (StopReason.FINISHED, 1)


def test_device_that_cannot_be_seen_after_a_failed_action_stops_the_episode():
    class Blind(BrokenDevice):
        def observe(self) -> None:
            raise ExecutorError("observe", "black screen")

    record = Episode(Blind(easy_task(), "execute"), ScriptedPlanner(DOWN)).run()
    assert (record.stop_reason, record.num_errors, len(record.steps)) == (StopReason.EXECUTOR_ERROR, 2, 1)
    assert "black screen" in record.errors[1]


def test_device_that_keeps_failing_stops_the_episode():
    record = Episode(BrokenDevice(easy_task(), "execute", 99), ScriptedPlanner(DOWN)).run()
    assert (record.stop_reason, record.num_errors, record.success) == (StopReason.EXECUTOR_ERROR, 3, False)


def test_device_that_cannot_be_reset_gives_an_empty_record():
    record = Episode(BrokenDevice(easy_task(), "reset", 9), ScriptedPlanner(DOWN), goal="go").run()
    assert (record.stop_reason, record.num_errors, record.steps) == (StopReason.EXECUTOR_ERROR, 1, ())


def test_judge_that_fails_leaves_success_unknown_and_is_counted():
    record = Episode(BrokenDevice(easy_task(), "is_success"), ScriptedPlanner("1. finished() | done")).run()
    assert (record.success, record.num_errors) == (None, 1)


def test_planner_that_fails_is_recorded_with_its_boundary_and_stops_after_three():
    record = run(ExecutorError("plan", "server down"))
    assert [step.boundary for step in record.steps] == ["plan"] * 3
    assert (record.stop_reason, record.num_errors) == (StopReason.EXECUTOR_ERROR, 3)


def test_tool_agent_that_fails_is_recorded_with_its_boundary():
    class Failing:
        name = "failing"

        def ground(self, *_args: object) -> None:
            raise ExecutorError("ground", "no element tree")

    record = run(DOWN, tool_agent=Failing())
    assert record.steps[0].boundary == "ground"
    assert record.steps[0].action is None
    assert record.num_errors == 3


def test_person_can_stop_between_forecast_and_action():
    answers = iter([False, False, False, True])
    record = Episode(device(), ScriptedPlanner(DOWN)).run(should_stop=lambda: next(answers))
    assert (record.stop_reason, len(record.steps)) == (StopReason.STOPPED, 1)


def test_reactive_episode_asks_for_one_step():
    planner = ScriptedPlanner("1. scroll(direction='down') | scroll down\n2. finished() | done")
    record = Episode(device(), planner, reactive=True, max_steps=2).run()
    assert planner.asked[0].horizon == 1
    assert [len(step.forecast.steps) for step in record.steps] == [1, 1]
    assert record.mode == "reactive"


def test_success_of_a_goal_of_ones_own_is_unknown():
    record = run("1. finished() | done", goal="make me happy")
    assert (record.goal, record.success) == ("make me happy", None)


def test_half_steps_out_of_order_are_refused():
    episode = Episode(device(), ScriptedPlanner(DOWN))
    with pytest.raises(InputError, match="not started"):
        episode.plan()
    episode.start()
    with pytest.raises(InputError, match="plan"):
        episode.act()
    episode.stop()
    with pytest.raises(InputError, match="over"):
        episode.plan()


@pytest.mark.parametrize("name", ["max_steps", "max_failures", "parse_tries"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(InputError, match=name):
        Episode(device(), ScriptedPlanner(DOWN), **{name: 0})


def test_record_survives_the_disk(tmp_path):
    click = "1. click(point=[0.5, 0.25]) | tap"
    planner = ScriptedPlanner(NOWHERE, DOWN, "what?", click, ExecutorError("plan", "down"))
    record = Episode(device(), planner, parse_tries=2, meta={"template": "x"}).run()
    assert PointNorm(0.5, 0.25) in [s.action.point for s in record.steps if s.action]
    save_episode(tmp_path / "runs" / "e.json", record)
    again = load_episode(tmp_path / "runs" / "e.json")
    save_episode(tmp_path / "runs" / "e2.json", again)
    first, second = (json.loads((tmp_path / "runs" / n).read_text()) for n in ("e.json", "e2.json"))
    assert json.dumps(first).replace("e_images", "e2_images") == json.dumps(second)
    assert [s.forecast for s in again.steps] == [s.forecast for s in record.steps]
    assert [s.error for s in again.steps] == [s.error for s in record.steps]
    screen = again.steps[0].observation.load_image()
    assert screen.tobytes() == record.steps[0].observation.load_image().tobytes()
    assert again.stop_reason is record.stop_reason


def test_record_becomes_a_trajectory_of_what_was_executed():
    trajectory = run(NOWHERE, DOWN, "1. finished() | done").to_trajectory("e1")
    assert [step.instruction for step in trajectory.steps] == ["scroll down", "done"]
    assert trajectory.outcome == "failure"


def test_record_with_half_characters_survives_the_disk(tmp_path):
    record = run("1. wait() | see \ud83d", "1. finished() | done", goal="a\udcff")
    save_episode(tmp_path / "e.json", record)
    again = load_episode(tmp_path / "e.json")
    assert (again.goal, again.steps[0].forecast) == (record.goal, record.steps[0].forecast)


def test_episode_that_cannot_be_written_leaves_no_half_file(tmp_path):
    record = replace(run("1. finished() | done"), meta={"device": object()})
    with pytest.raises(TypeError):
        save_episode(tmp_path / "e.json", record)
    assert [path.name for path in tmp_path.iterdir()] == ["e_images"]


# (path of the field, value): every part of a file that something else could stand in
WRONG_PARTS = [
    (("goal",), 5), (("planner",), None), (("steps",), {}), (("success",), "yes"), (("errors",), "abc"),
    (("num_errors",), "2"), (("meta",), None), (("steps", 0), 1), (("steps", 0, "number"), "1"),
    (("steps", 0, "had_effect"), "false"), (("steps", 0, "message"), 5), (("steps", 0, "plan_seconds"), "fast"),
    (("steps", 0, "grounding"), 5), (("steps", 0, "forecast", "thought"), 5), (("steps", 0, "forecast", "steps"), 5),
    (("steps", 0, "forecast", "steps", 0), []), (("steps", 0, "action"), {"type": "fly"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def kept() -> str:
    with tempfile.TemporaryDirectory() as folder:
        save_episode(Path(folder) / "e.json", run("1. finished() | done"))
        return (Path(folder) / "e.json").read_text()


@pytest.mark.parametrize(("path", "value"), WRONG_PARTS, ids=str)
def test_part_of_a_file_that_is_something_else_is_told_with_its_place(tmp_path, kept, path, value):
    record = json.loads(kept)
    part = record
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "e.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="e.json: step 1: " if path[0] == "steps" and value != {} else "e.json: field"):
        load_episode(tmp_path / "e.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ("[]", "schema_version"), ('{"schema_version": 1}', "field 'steps' is missing"),
     ("[" * 200_000, "not JSON"),
     ('{"schema_version": 1, "goal": "g", "planner": "p", "mode": "m", "stop_reason": "bored", "steps": []}', "bored")],
)
def test_file_that_is_no_episode_is_refused(tmp_path, text, words):
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(InputError, match=words):
        load_episode(tmp_path / "e.json")


def test_episode_files_that_cannot_be_read_or_written_are_told(tmp_path):
    with pytest.raises(MissingFileError, match="none.json"):
        load_episode(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_episode(tmp_path / "file" / "e.json", run("1. finished() | done"))


def test_batch_gives_the_same_records_as_one_by_one():
    tasks = sample_tasks("test", 5, 4)
    planner = oracle_planner(tasks)
    alone = [Episode(device(task), planner).run() for task in tasks]
    done = []
    together = run_batch((Episode(device(t), planner) for t in tasks), planner, batch_size=2, on_done=done.append)
    assert [r.goal for r in together] == [r.goal for r in alone]
    assert [[s.action for s in r.steps] for r in together] == [[s.action for s in r.steps] for r in alone]
    assert len(done) == 5


def test_batch_can_be_stopped():
    planner = ScriptedPlanner(DOWN)
    answers = iter([False, False, True])
    episodes = (Episode(device(), planner) for _ in range(9))
    records = run_batch(episodes, planner, batch_size=2, should_stop=lambda: next(answers))
    assert [(r.stop_reason, len(r.steps)) for r in records] == [(StopReason.STOPPED, 2)] * 2


def test_device_that_cannot_be_reset_costs_the_batch_nothing_else():
    planner = ScriptedPlanner("1. finished() | done")
    episodes = [Episode(BrokenDevice(easy_task(), "reset", 9), planner), Episode(device(), planner)]
    reasons = [record.stop_reason for record in run_batch(episodes, planner)]
    assert reasons == [StopReason.EXECUTOR_ERROR, StopReason.FINISHED]


def test_a_place_that_a_person_set_is_executed_whatever_the_words_say() -> None:
    class Elsewhere:
        name = "elsewhere"

        def ground(self, observation, action, instruction):
            raise AssertionError("a pinned place is not looked up")

    device = SimulatorExecutor(easy_task(), interruption_rate=0.0)
    episode = Episode(device, None, tool_agent=Elsewhere())
    episode.start()
    place = PointNorm(0.5, 0.5)
    episode.take(forecast_of(Action(type="click", point=place), 'tap the "Nowhere" button'), is_pinned=True)
    assert episode.act().action.point == place


def test_an_episode_without_a_planner_says_so() -> None:
    episode = Episode(SimulatorExecutor(easy_task()), None)
    episode.start()
    with pytest.raises(InputError, match="no planner"):
        episode.plan()


def test_recorded_steps_bring_a_fresh_episode_to_the_same_state() -> None:
    task = easy_task()
    first = Episode(SimulatorExecutor(task), oracle_planner([task], interruption_rate=0.05), max_steps=30)
    first.start()
    while not first.is_done:
        again = Episode(SimulatorExecutor(task), None, max_steps=30)
        again.restore(first.steps)
        assert shows_same(again.observation, first.observation)
        assert (again.history, again.num_errors, again.is_done) == (first.history, first.num_errors, False)
        first.plan()
        first.act()
    again = Episode(SimulatorExecutor(task), None, max_steps=30)
    again.restore(first.steps)
    assert (again.stop_reason, again.success) == (first.stop_reason, first.success)


def test_failed_steps_are_restored_as_failures() -> None:
    nowhere = forecast_of(Action(type="click"), 'tap the "Nowhere" button')
    first = Episode(SimulatorExecutor(easy_task(), interruption_rate=0.0), ScriptedPlanner(nowhere))
    first.start()
    for _ in range(2):
        first.plan()
        first.act()
    again = Episode(SimulatorExecutor(easy_task(), interruption_rate=0.0), None)
    again.restore(first.steps)
    assert not again.is_done
    again.take(nowhere)
    again.act()
    assert again.stop_reason is StopReason.NOT_GROUNDED  # the third in a row


def test_a_device_that_answers_otherwise_is_not_taken_for_the_same() -> None:
    task = easy_task()
    first = Episode(SimulatorExecutor(task, interruption_rate=0.0), oracle_planner([task]))
    first.start()
    for _ in range(2):
        first.plan()
        first.act()
    steps = [replace(first.steps[0], action=Action(type="wait")), first.steps[1]]
    with pytest.raises(ExecutorError, match="another screen than before step 2"):
        Episode(SimulatorExecutor(task, interruption_rate=0.0), None).restore(steps)
