"""Offline evaluation: states, two passes, what is stored, going on after a stop or a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError, MissingFileError, OutputError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Element, Observation, Step, Trajectory, write_trajectories
from tests.training.planner_helpers import COMPACT, ScriptedPlanner
from training.benchmarks.baselines import RandomBaseline
from training.benchmarks.evaluation import (
    find_results,
    load_evaluation,
    load_folder,
    only_writer,
    stored_summaries,
)
from training.benchmarks.journal import Journal
from training.benchmarks.offline import build_states, oracle_grounder, prompt_hash
from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
from training.benchmarks.protocols import Outcome, get_protocol
from training.cli import main
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep

SAVE = Element(role="button", text="Save", box=BoxNorm(0.4, 0.4, 0.6, 0.6))
CLICK = Action(type="click", point=PointNorm(0.5, 0.5))


def step(action: Action = CLICK, instruction: str = 'tap the "Save" button', *flags: str) -> Step:
    seen = Observation(elements=(SAVE,), image_size=ImageSize(100, 200))
    return Step(observation=seen, action=action, instruction=instruction, target=SAVE.box, flags=frozenset(flags))


def episode(name: str, *steps: Step) -> Trajectory:
    return Trajectory(id=name, goal=f"save {name}", steps=steps, source="made", platform="phone")


@pytest.fixture
def data(tmp_path) -> Path:
    done = replace(step(Action(type="finished"), "done"), target=None)
    path = tmp_path / "t.jsonl"
    write_trajectories(path, [episode(f"e{n}", step(), step(), done) for n in range(4)])
    return path


def settings(path: Path, out: Path, **changes) -> OfflineSettings:
    given = {"protocol": "grounded", "data": str(path), "planner": "made", "out": out, "batch_size": 2}
    return OfflineSettings(**{**given, **changes})


GOOD = '1. click() | tap the "Save" button\n2. click() | tap the "Save" button\n3. finished() | done'


def run(path: Path, out: Path, made, **changes):
    """Evaluates a planner that was made here; `changes` are settings."""
    return evaluate_offline(settings(path, out, **changes), load=lambda _: made)


def test_states_hold_the_recorded_future_without_interruptions_and_stop_before_mistakes():
    steps = [step(), step(CLICK, "pop-up", "interruption"), step(), step(CLICK, "wrong", "incorrect"), step()]
    states = list(build_states([episode("e", *steps)], get_protocol("grounded"), horizon=4))
    assert [[r.index for r in state.references] for state in states] == [[0, 2], [1, 2], [2], [4]]
    assert [len(state.request.history) for state in states] == [0, 1, 2, 4]


def test_low_level_tells_the_recorded_instruction_and_prompts_differ():
    high, low = (
        next(build_states([episode("e", step())], get_protocol("grounded"), horizon=1, level=level))
        for level in ("high", "low")
    )
    assert 'tap the "Save" button' in low.request.goal and 'tap the "Save" button' not in high.request.goal
    assert prompt_hash(high.request, COMPACT) != prompt_hash(low.request, COMPACT)
    assert prompt_hash(high.request, COMPACT) != prompt_hash(high.request, replace(COMPACT, prompt_style="full"))


def test_unknown_level_is_refused():
    with pytest.raises(InputError, match="level 'middle'"):
        list(build_states([], get_protocol("grounded"), horizon=1, level="middle"))


def test_a_set_without_screenshots_is_asked_in_words_only():
    state = next(build_states([episode("e", step())], get_protocol("grounded"), horizon=1))
    assert state.request.observation.image_size is None
    assert state.steps[0].observation.image_size == ImageSize(100, 200)


def test_scores_by_lookahead_and_what_is_stored(data, tmp_path):
    (result,) = run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    assert result["num_steps"] == result["num_without_screenshot"] == 12
    # Asked at the three states of an episode, the same plan is right at: 1 2 3, then 1 (2 is finished), then none.
    assert result["by_lookahead"] == {
        "1": {"rate": 0.6667, "num": 12}, "2": {"rate": 0.5, "num": 8}, "3": {"rate": 1.0, "num": 4},
    }  # fmt: skip
    (path,) = find_results(tmp_path / "out")
    evaluation = load_evaluation(path)
    assert evaluation.benchmark == "grounded on t.jsonl with elements"
    assert [sample.id for sample in evaluation.samples[:3]] == ["e0/0", "e0/1", "e0/2"]
    first = evaluation.samples[0]
    assert (first.success, len(first.steps), first.slices["length"]) == (1.0, 3, "1-5")
    assert Forecast.from_json(first.forecast).raw == GOOD
    assert first.steps[0].prediction.action.point == SAVE.box.center
    assert json.loads((tmp_path / "out" / "summary.grounded.elements.json").read_text()) == result


def test_release_under_another_name_counts_as_its_data_set(tmp_path):
    write_trajectories(tmp_path / "t.jsonl", [replace(episode("1", step()), source="ui_s1")])
    (result,) = run(tmp_path / "t.jsonl", tmp_path / "out", ScriptedPlanner(GOOD), protocol="osatlas")
    (evaluation,) = load_folder(tmp_path / "out")
    assert result["datasets"] == evaluation.settings["datasets"] == ["android_control"]


def test_planner_is_asked_once_for_several_tool_agents_and_protocols(data, tmp_path):
    planner = ScriptedPlanner('1. click() | tap the "Nowhere" button')
    elements, oracle = run(data, tmp_path / "out", planner, tool_agents=("elements", "oracle"))
    assert len(planner.asked) == 12
    assert (elements["step_success"]["rate"], oracle["step_success"]["rate"]) == (0.0, 0.6667)
    assert elements["not_grounded_rate"] == 1.0
    run(data, tmp_path / "out", planner, protocol="osatlas")
    assert len(planner.asked) == 12
    assert {e.protocol for e in load_folder(tmp_path / "out")} == {"grounded", "osatlas"}


def test_leaderboard_lists_all_evaluations_best_first_and_skips_what_is_damaged(data, tmp_path):
    run(data, tmp_path / "all" / "bad", ScriptedPlanner("hm"))
    run(data, tmp_path / "all" / "good", ScriptedPlanner(GOOD))
    (tmp_path / "all" / "summary.broken.json").write_text("{")
    assert [row["name"] for row in stored_summaries(tmp_path / "all")] == ["good", "bad"]


def damaged(record, path: tuple, value):
    """A copy of the record with another value at a place."""
    copy = json.loads(json.dumps(record))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("steps",), []),
        (("steps", 0, "score", "success"), float("nan")),
        (("steps", 0, "score", "success"), "1"),
        (("steps", 0, "score", "grounding"), 7),
        (("steps", 0, "score", "parts"), {"operation_f1": None}),
        (("steps", 0, "score", "type"), "yes"),
        (("slices",), True),
        (("slices", "length"), 5),
        (("index",), "0"),
        (("episode",), None),
    ],
)
def test_damaged_sample_is_told_when_it_is_read(data, tmp_path, path, value):
    run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    (results,) = find_results(tmp_path / "out")
    lines = results.read_text().splitlines()
    lines[2] = json.dumps(damaged(json.loads(lines[2]), path, value))
    results.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="line 3: damaged"):
        load_evaluation(results)


def test_results_with_a_sample_twice_and_bottomless_json_are_damaged(data, tmp_path):
    run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    (results,) = find_results(tmp_path / "out")
    text = results.read_text()
    results.write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(InputError, match="occurs twice"):
        load_evaluation(results)
    results.write_text("[" * 100_000)
    with pytest.raises(InputError, match="line 1: damaged"):
        load_evaluation(results)
    (tmp_path / "out" / "summary.grounded.elements.json").write_text("[" * 100_000)
    assert stored_summaries(tmp_path) == []
    (tmp_path / "out" / "forecasts.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(InputError, match="line 1: not a record"):
        Journal(tmp_path / "out" / "forecasts.jsonl")


@pytest.mark.parametrize(("field", "value"), [("datasets", 5), ("datasets", [[]]), ("config", 7)])
def test_damaged_settings_are_told_by_field(data, tmp_path, field, value):
    run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    path = tmp_path / "out" / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(InputError, match=f"field '{field}'"):
        load_folder(tmp_path / "out")
    path.write_text(json.dumps({**json.loads(path.read_text()), "datasets": [], "config": {"nope": 1}}))
    with pytest.raises(InputError, match="'config' is damaged.*nope"):
        run(data, tmp_path / "out", ScriptedPlanner(GOOD))


def test_two_evaluations_never_write_one_folder(data, tmp_path):
    (tmp_path / "out").mkdir()
    with only_writer(tmp_path / "out"), pytest.raises(OutputError, match="another evaluation is writing"):
        run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    assert not (tmp_path / "out" / "forecasts.jsonl").exists()
    assert run(data, tmp_path / "out", ScriptedPlanner(GOOD))  # the lock is gone


def test_data_with_an_episode_twice_are_refused(tmp_path):
    write_trajectories(tmp_path / "t.jsonl", [episode("e", step()), episode("e", step())])
    with pytest.raises(InputError, match="'e/0' occurs twice"):
        run(tmp_path / "t.jsonl", tmp_path / "out", ScriptedPlanner(GOOD))


def test_reactive_asks_for_one_step(data, tmp_path):
    planner = ScriptedPlanner(GOOD)
    (result,) = run(data, tmp_path / "out", planner, reactive=True)
    assert {request.horizon for request in planner.asked} == {1}
    assert (result["mode"], list(result["by_lookahead"])) == ("reactive", ["1"])


def test_horizon_and_history_replace_the_planners_own(data, tmp_path):
    planner = ScriptedPlanner(GOOD)
    run(data, tmp_path / "out", planner, horizon=2, history_length=0)
    assert ({request.horizon for request in planner.asked}, planner.config.history_length) == ({2}, 0)


def test_unreadable_and_short_forecasts_are_wrong(data, tmp_path):
    (result,) = run(data, tmp_path / "out", ScriptedPlanner("hm"))
    assert (result["parse_failure_rate"], result["step_success"]["rate"]) == (1.0, 0.0)
    (short,) = run(data, tmp_path / "short", ScriptedPlanner('1. click() | tap the "Save" button'))
    assert short["by_lookahead"]["2"] == {"rate": 0.0, "num": 8}


def test_failed_planner_counts_as_wrong_and_is_asked_again_next_time(data, tmp_path):
    (failed,) = run(data, tmp_path / "out", ScriptedPlanner(ExecutorError("plan", "down")))
    assert (failed["num_errors"], failed["step_success"]["rate"], failed["parse_failure_rate"]) == (12, 0.0, 0.0)
    planner = ScriptedPlanner(GOOD)
    (mended,) = run(data, tmp_path / "out", planner)
    assert (mended["num_errors"], len(planner.asked)) == (0, 12)


def test_failed_tool_agent_counts_as_error(tmp_path):
    bare = replace(step(), observation=Observation())  # the element agent needs a tree
    write_trajectories(tmp_path / "t.jsonl", [episode("e", bare)])
    (result,) = run(tmp_path / "t.jsonl", tmp_path / "out", ScriptedPlanner(GOOD))
    assert (result["num_errors"], result["step_success"]["rate"]) == (1, 0.0)


def test_stopped_evaluation_goes_on_where_it_was(data, tmp_path):
    planner = ScriptedPlanner(GOOD)
    asked = iter([False, False, True])
    stopped = evaluate_offline(
        settings(data, tmp_path / "out"), load=lambda _: planner, should_stop=lambda: next(asked)
    )
    assert stopped is None
    assert len(planner.asked) == 4
    (result,) = run(data, tmp_path / "out", planner)
    assert (len(planner.asked), result["num_steps"]) == (12, 12)


def test_finished_evaluation_does_not_even_load_its_planner(data, tmp_path):
    first = run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    assert evaluate_offline(settings(data, tmp_path / "out"), load=lambda _: pytest.fail("loaded")) == first


def test_cut_off_line_is_dropped_and_asked_again(data, tmp_path):
    run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    path = tmp_path / "out" / "forecasts.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    planner = ScriptedPlanner(GOOD)
    run(data, tmp_path / "out", planner)
    assert len(planner.asked) == 1
    assert len(Journal(path).records) == 12


def test_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text('{"id": "a"}\nnonsense\n{"id": "b"}\n')
    with pytest.raises(InputError, match="j.jsonl line 2"):
        Journal(path)


def test_half_a_surrogate_pair_in_a_reply_is_stored(data, tmp_path):
    run(data, tmp_path / "out", ScriptedPlanner("\ud83d hm"))
    (evaluation,) = load_folder(tmp_path / "out")
    assert evaluation.samples[0].forecast["raw"] == "\ud83d hm"


@pytest.mark.parametrize(
    ("changes", "word"), [({"reactive": True}, "mode"), ({"horizon": 2}, "horizon"), ({"level": "low"}, "level"),
                          ({"planner": "other"}, "planner"), ({"num_episodes": 2}, "data")]
)  # fmt: skip
def test_folder_of_another_evaluation_is_refused(data, tmp_path, changes, word):
    run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    with pytest.raises(InputError, match=f"holds an evaluation with {word}"):
        run(data, tmp_path / "out", ScriptedPlanner(GOOD), **changes)


def test_changed_data_are_refused_even_under_the_same_name(data, tmp_path):
    run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    write_trajectories(data, [episode("e0", step())])
    with pytest.raises(InputError, match="data_hash"):
        run(data, tmp_path / "out", ScriptedPlanner(GOOD))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"protocol": "osatlass"}, InputError, "choose one of"),
        ({"tool_agents": ("nobody",)}, InputError, "tool agent 'nobody'.*or oracle"),
        ({"data": "/none.jsonl"}, MissingFileError, "check the path"),
        ({"split": "moon"}, InputError, "split 'moon'"),
    ],
)
def test_wrong_settings_are_told_before_a_planner_is_loaded(data, tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        evaluate_offline(settings(data, tmp_path / "out", **changes), load=lambda _: pytest.fail("loaded"))


def test_data_without_a_step_of_the_set_are_refused(tmp_path):
    write_trajectories(tmp_path / "t.jsonl", [replace(episode("45", step()), source="android_control")])
    with pytest.raises(InputError, match="no step of protocol osatlas"):
        run(tmp_path / "t.jsonl", tmp_path / "out", ScriptedPlanner(GOOD), protocol="osatlas")


def test_folder_that_cannot_be_written_is_one_sentence(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((OutputError, InputError), match="cannot"):
        run(data, tmp_path / "file", ScriptedPlanner(GOOD))


def test_oracle_agent_fills_points_of_the_right_type_only():
    same = oracle_grounder(ForecastStep(action=Action(type="click"), instruction="x"), step())
    assert (same.action, same.outcome) == (CLICK, Outcome.OK)
    other = oracle_grounder(ForecastStep(action=Action(type="long_press"), instruction="x"), step())
    assert other.action == Action(type="long_press")
    own = oracle_grounder(ForecastStep(action=replace(CLICK, point=PointNorm(0.1, 0.1)), instruction="x"), step())
    assert own.action.point == PointNorm(0.1, 0.1)


def test_random_baseline_repeats_and_stays_on_the_device():
    states = list(build_states([episode("e", step(), step(), step())], get_protocol("grounded"), horizon=5))
    first, again = RandomBaseline().forecast_states(states), RandomBaseline().forecast_states(states[::-1])[::-1]
    assert first == again != RandomBaseline(1).forecast_states(states)
    assert all(s.action.spec.spaces & states[0].request.spaces for f in first for s in f.steps)
    assert [len(f.steps) for f in first] == [5, 5, 5]


def test_oracle_baseline_is_right_on_the_simulators_offline_set(tmp_path, capsys):
    args = ["--planner", "oracle", "--episodes", "3", "--out", str(tmp_path / "out")]
    assert main(["evaluate", "grounded", *args, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["step_success"]["rate"] == result["by_lookahead"]["3"]["rate"] == 1.0
    assert result["data"] == "simulator/test, 3 episodes, seed 0"
    assert "state/s" in err


def test_real_tiny_planner_is_evaluated_offline_with_screenshots(tmp_path, monkeypatch, capsys):
    from tests.training.planner_helpers import tiny_checkpoint

    monkeypatch.setattr("training.planner.default_max_new_tokens", lambda *_args, **_options: 4)
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny"))
    args = ["--planner", checkpoint, "--episodes", "1", "--out", str(tmp_path / "out"), "--json"]
    assert main(["evaluate", "grounded", *args]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["num_without_screenshot"], result["parse_failure_rate"]) == (0, 1.0)
    assert (result["horizon"], result["planner"]) == (4, checkpoint)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["grounded"], "--out is missing"),
        (["grounded", "--out", "x", "--max-steps", "3"], "--max-steps"),
        (["simulator", "--horizon", "3"], "--horizon belongs to the offline"),
        (["simulator", "--tool-agent", "oracle"], "--tool-agent belongs to miniwob and the offline"),
    ],
)
def test_options_of_the_other_kind_of_benchmark_are_refused(capsys, argv, words):
    assert main(["evaluate", *argv]) == 2
    assert words in capsys.readouterr().err


SLOW_RUN = """
import sys, time
from pathlib import Path
from tests.training.planner_helpers import ScriptedPlanner
from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
class Slow(ScriptedPlanner):
    def forecast(self, requests):
        time.sleep(0.3)
        return super().forecast(requests)
data, out, reply = sys.argv[1:]
settings = OfflineSettings(protocol="grounded", data=data, planner="made", out=Path(out), batch_size=1)
evaluate_offline(settings, load=lambda _: Slow(reply))
"""


def test_evaluation_killed_with_kill_9_loses_no_finished_batch(data, tmp_path, root):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(data), str(out), GOOD], cwd=root, env={**os.environ, "PYTHONPATH": "."}
    )
    journal = out / "forecasts.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    num_kept = journal.read_bytes().count(b"\n")
    assert 3 <= num_kept < 12
    planner = ScriptedPlanner(GOOD)
    (result,) = run(data, out, planner)
    assert (len(planner.asked), result["num_steps"], result["num_missing"]) == (12 - num_kept, 12, 0)


def test_forecast_config_is_kept_with_the_evaluation(data, tmp_path):
    run(data, tmp_path / "out", ScriptedPlanner(GOOD))
    (evaluation,) = load_folder(tmp_path / "out")
    assert ForecastConfig(**evaluation.settings["config"]) == COMPACT
