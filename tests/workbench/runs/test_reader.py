"""Reading a run while it is written, cut back and replaced."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from training.config import SftConfig
from training.run_folder import RunFolder
from workbench.runs import reader


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", stage="sft", config=SftConfig(), command=[], seed=0)


def test_only_new_points_are_read(run):
    assert reader.read_metrics(run.path).columns == {}
    run.log_metrics(1, 0.5, {"loss": 1.0})
    first = reader.read_metrics(run.path)
    assert (first.columns["step"], first.columns["loss"]) == ([1], [1.0])
    run.log_metrics(2, 0.6, {"loss": float("nan"), "reward": 2})
    second = reader.read_metrics(run.path, first.cursor)
    assert (second.columns["step"], second.columns["loss"], second.columns["reward"]) == ([2], [None], [2])
    assert reader.read_metrics(run.path, second.cursor).columns == {} and not second.is_reset


def test_a_line_that_is_being_written_is_read_when_it_is_whole(run):
    run.log_metrics(1, 0.5, {"loss": 1.0})
    with (run.path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 2, "lo')
        out.flush()
        first = reader.read_metrics(run.path)
        out.write('ss": 3.0}\n')
    assert first.columns["step"] == [1]
    assert reader.read_metrics(run.path, first.cursor).columns == {"step": [2], "loss": [3.0]}


def test_a_torn_line_in_the_middle_is_left_out(run):
    (run.path / "metrics.jsonl").write_text('{"step": 1}\n{"step": \n[3]\n{"step": 4}\n')
    assert reader.read_metrics(run.path).columns == {"step": [1, 4]}


def test_a_file_that_was_cut_back_is_read_anew_even_under_its_old_number(run):
    for step in (1, 2, 3):
        run.log_metrics(step, 0.5, {"loss": float(step)})
    before = reader.read_metrics(run.path)
    file = run.path / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    with file.open("r+") as same:  # in place: the same inode
        same.seek(0)
        same.write(lines[0] + json.dumps({"step": 2, "loss": 22.0, "note": "x" * 200}) + "\n")
        same.truncate()
    after = reader.read_metrics(run.path, before.cursor)
    assert after.is_reset and after.columns["loss"] == [1.0, 22.0]
    os.replace(_written(run.path / "other", lines[0]), file)
    again = reader.read_metrics(run.path, after.cursor)
    assert again.is_reset and again.columns["step"] == [1]


def _written(path, text):
    path.write_text(text)
    return path


def test_many_points_are_read_the_same_way_as_few(run, monkeypatch):
    rows = [{"step": s, "time": float(s), "loss": s / 7, "kl": None if s % 3 else 0.1} for s in range(200)]
    rows[7] = {"step": 7, "time": 7.0, "val/reward": 0.5}
    run._append("metrics.jsonl", rows)
    few = reader.read_metrics(run.path)
    monkeypatch.setattr(reader, "_MANY_BYTES", 0)
    assert reader.read_metrics(run.path).columns == few.columns
    some = reader.read_metrics(run.path, names=["loss", "absent"]).columns
    assert some == {name: few.columns[name] for name in ("step", "time", "loss")}
    run._append("metrics.jsonl", [{"step": 200, "loss": "a text"}])
    assert reader.read_metrics(run.path, names=["loss"]).columns["loss"][-1] == "a text"


@given(st.lists(st.one_of(st.none(), st.floats(-9, 9)), max_size=60), st.integers(4, 30))
def test_thinning_keeps_the_extremes_in_order(values, most):
    steps = list(range(len(values)))
    thin_steps, thin_values = reader.thin(steps, values, most)
    assert len(thin_steps) <= max(most, len(values) if len(values) <= most else 0)
    assert thin_steps == sorted(set(thin_steps))
    known = [value for value in values if value is not None]
    if known:
        kept = [value for value in thin_values if value is not None]
        assert (min(kept), max(kept)) == (min(known), max(known))


def _rollout(step, prompt_id, rewards, **more):
    completions = [{"text": "t", "reward": r, "parse_ok": r != -0.5, "reason": None, "advantage": 0.0} for r in rewards]
    return {"step": step, "id": prompt_id, "goal": "open Mail", "reference": [], "completions": completions, **more}


def test_rollouts_are_found_by_step_prompt_reward_and_failure(run):
    kept = run.keep_screen(Image.new("RGB", (30, 20)))
    run.log_rollouts([_rollout(1, "a", [0.0, 1.0], **kept), _rollout(1, "b", [-0.5, -0.5])])
    run.log_rollouts([_rollout(2, "a", [1.0, None])])
    assert reader.rollout_steps(run.path) == [1, 2]
    first, second = reader.read_rollouts(run.path, 1)
    assert (first.prompt_id, second.prompt_id, first.image_size) == ("a", "b", (30, 20))
    assert first.screen.is_file() and second.screen is None
    assert reader.read_rollouts(run.path, 9) == []
    assert [s.step for s in reader.find_rollouts(run.path, prompt_id="a")] == [1, 2]
    (failed,) = reader.find_rollouts(run.path, only_parse_failures=True)
    assert (failed.prompt_id, failed.num_parse_failures, failed.mean_reward) == ("b", 2, -0.5)
    assert [s.mean_reward for s in reader.find_rollouts(run.path, least_reward=0.9)] == [1.0]
    assert [s.prompt_id for s in reader.find_rollouts(run.path, greatest_reward=0.0)] == ["b"]
    assert len(reader.find_rollouts(run.path, text="MAIL", most=2)) == 2
    assert reader.read_group(run.path, failed.offset).prompt_id == "b"


def test_rollouts_follow_a_run_that_is_cut_back(run):
    run.log_rollouts([_rollout(1, "a", [0.0]), _rollout(2, "b", [0.0])])
    (late,) = reader.find_rollouts(run.path, prompt_id="b")
    resumed = RunFolder.resume(run.path, command=[], step=1)
    assert reader.rollout_steps(run.path) == [1]
    assert reader.read_group(run.path, late.offset) is None
    resumed.log_rollouts([_rollout(2, "c", [0.0])])
    assert [group.prompt_id for group in reader.read_rollouts(run.path, 2)] == ["c"]


def test_a_screen_named_by_a_path_is_not_followed(run):
    (run.path / "secret.webp").write_bytes(b"x")
    run.log_rollouts([_rollout(1, "a", [0.0], image="../secret.webp", image_size=[1, 1])])
    assert reader.read_rollouts(run.path, 1)[0].screen is None


def test_the_log_is_followed_and_bounded(run):
    log = run.path / "log.txt"
    log.write_text("one\n")
    first = reader.tail_log(run.path)
    with log.open("a") as out:
        out.write("two ü\nthree\nhalf a li")
    second = reader.tail_log(run.path, first.cursor)
    assert (first.text, second.text) == ("one\n", "two ü\nthree\n")
    short = reader.tail_log(run.path, most=8)
    assert short.text == "three\n" and short.num_skipped > 0


def test_a_rotated_log_is_read_over_its_seam_and_searched(run):
    (run.path / "log.txt").write_text("Old step 1\n" * 3)
    before = reader.tail_log(run.path)
    (run.path / "log.txt").rename(run.path / "log.1.txt")
    (run.path / "log.txt").write_text("new step 2\n")
    after = reader.tail_log(run.path, before.cursor)
    assert after.is_reset and after.text.endswith("Old step 1\nnew step 2\n")
    assert reader.search_log(run.path, "STEP", most=2) == [("log.1.txt", 3, "Old step 1"), ("log.txt", 1, "new step 2")]
    assert reader.search_log(run.path, "") == []


def test_a_run_that_never_began_shows_what_its_process_printed(tmp_path):
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "output.txt").write_text("tracer1: no\n")
    assert reader.tail_log(tmp_path).text == "tracer1: no\n"


def test_events_are_read(run):
    run.confirm("save", "saved", 4, checkpoint="checkpoint-4")
    (event,) = reader.read_events(run.path)
    assert (event["event"], event["step"], event["checkpoint"]) == ("saved", 4, "checkpoint-4")
