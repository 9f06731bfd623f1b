"""GAIA end to end on a made-up copy: figures by hand, the leaderboard's file, what is stored, and what is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from tests.chat_server import completion, serve
from tests.training.benchmarks.copies import GAIA_ROWS, call, gaia_row, say, write_gaia, write_replay
from training.benchmarks.comparison import compare, flips
from training.benchmarks.evaluation import load_folder
from training.benchmarks.gaia import read_tasks
from training.benchmarks.gaia_run import evaluate, query_of
from training.benchmarks.recordings import recorded_step
from training.benchmarks.tool_runs import RunSettings
from training.cli import main
from workbench.compare_html import render_leaderboard
from workbench.compare_shelf import EvaluationShelf

ROOT = Path(__file__).resolve().parents[3]
INSPECT = call("inspect_file_as_text", file_path="table.csv")


def replay(path: Path, copy: Path, *plans: Sequence[Action], split: str = "validation") -> str:
    """A planner that does these plans for the tasks in order."""
    goals = [query_of(task).goal for task in read_tasks(copy, split=split)]
    return write_replay(path, dict(zip(goals, plans, strict=True)))


def percents(summary: dict, *names: str) -> list[float | None]:
    """These figures of a summary."""
    return [found and found["percent"] for found in (summary["figures"][name] for name in names)]


def submission(folder: Path) -> list[dict]:
    """The lines of the leaderboard's file."""
    return [json.loads(line) for line in (folder / "submission.jsonl").read_text().splitlines()]


def test_right_answers_by_level_and_the_file_is_really_read(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia")
    planner = replay(tmp_path / "plans.jsonl", copy, [say("FINAL ANSWER: $1,717,171")],
                     [INSPECT, say("I see. FINAL ANSWER: zq,xw")], [say("zoltan quux.")])  # fmt: skip
    summary = evaluate(RunSettings(data=copy, planner=planner, out=tmp_path / "out"))
    assert percents(summary, "AnsAcc", "L1", "L2", "L3", "ToolAcc", "CodeExec") == [100] * 6
    assert summary["figures"]["AnsAcc"]["ci95"] == [43.85, 100.0]  # Wilson's for 3 of 3
    assert summary["step_success"] == {"rate": 1.0, "num": 3} and summary["tool_failures"] == {}
    assert submission(tmp_path / "out") == [
        {"task_id": "task-1", "model_answer": "$1,717,171"}, {"task_id": "task-2", "model_answer": "zq,xw"},
        {"task_id": "task-3", "model_answer": "zoltan quux."}]  # fmt: skip


def test_wrong_answers_and_misfit_calls_by_hand(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia")
    planner = replay(
        tmp_path / "plans.jsonl", copy, [call("visit_page", url="http://x"), say("17")],
        [INSPECT, call("inspect_file_as_text"), say("xw, zq")], [call("Teleport"), Action(type="call_user")],
    )  # fmt: skip
    summary = evaluate(RunSettings(data=copy, planner=planner, out=tmp_path / "out"))
    assert percents(summary, "AnsAcc", "L1", "L2", "L3") == [0, 0, 0, 0]
    assert percents(summary, "ToolAcc", "CodeExec") == [50, 25]  # of 4 calls 2 fit, and 1 ran: the network is off
    assert summary["tool_failures"] == {"bad arguments": 1, "unavailable": 1, "unknown tool": 1}
    assert (summary["num_without_answer"], submission(tmp_path / "out")[2]["model_answer"]) == (1, "")


def test_replies_that_are_no_plan_are_wrong_and_counted(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia")
    with serve((200, completion("The answer is Zoltan Quux"))) as server:
        summary = evaluate(RunSettings(data=copy, planner=f"openai:m@{server.url}", out=tmp_path / "out"))
    assert percents(summary, "AnsAcc", "CodeExec", "ToolAcc") == [0, 0, None]
    assert (summary["num_without_answer"], summary["parse_failure_rate"], summary["num_failed"]) == (3, 1.0, 0)


def test_hidden_answers_are_not_scored_but_submitted(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia", [{**row, "Final answer": "?"} for row in GAIA_ROWS], split="test")
    planner = replay(tmp_path / "plans.jsonl", copy, [say("a")], [say("b")], [say("c")], split="test")
    summary = evaluate(RunSettings(data=copy, planner=planner, out=tmp_path / "out"), "test")
    assert percents(summary, "AnsAcc", "L1") == [None, None]
    assert (summary["num_hidden"], summary["step_success"], summary["episode_success"]) == (3, None, None)
    assert [line["model_answer"] for line in submission(tmp_path / "out")] == ["a", "b", "c"]
    assert "not scored" in render_leaderboard(EvaluationShelf(tmp_path).list())


def test_nothing_of_gaia_is_stored(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia")
    planner = replay(
        tmp_path / "plans.jsonl", copy, [call("ask_search_agent", query="the SECRETQUESTION of one"), say("5")],
        [INSPECT, call("python", code="print('SECRETFILE')"), say("no")], [call("SECRETQUESTION"), say("no")],
    )  # fmt: skip
    lines: list[str] = []
    for _ in range(2):
        evaluate(RunSettings(data=copy, planner=planner, out=tmp_path / "out"), on_line=lines.append)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) >= 5
    kept = b"".join(path.read_bytes() for path in files) + "".join(lines).encode()
    for secret in (b"SECRETQUESTION", b"SECRETFILE", b"SECRETSTEPS", b"1717171", b"Zoltan", b"zq", b"general AI"):
        assert secret not in kept
    assert b"task-2" in kept and b"ask_search_agent" in kept


def test_a_server_s_words_about_a_question_are_not_stored(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia")
    with serve((400, '{"error": {"message": "bad prompt: the SECRETQUESTION of one"}}')) as server:
        summary = evaluate(RunSettings(data=copy, planner=f"openai:m@{server.url}", out=tmp_path / "out"))
    assert summary["num_failed"] == 3 and percents(summary, "AnsAcc") == [0]
    assert all(b"SECRETQUESTION" not in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_bad_rows_and_missing_files_are_counted_and_the_run_goes_on(tmp_path: Path) -> None:
    rows = [*GAIA_ROWS, gaia_row(4, 7, "?", "1"), gaia_row(5, 1, "What is it?", "1", "gone.pdf"),
            gaia_row(6, 1, "What is it?", "1", "torn.png")]  # fmt: skip
    copy = write_gaia(tmp_path / "gaia", rows)
    (copy / "2023" / "validation" / "torn.png").write_bytes(b"no image")
    tasks = read_tasks(copy, skipped=[])
    planner = write_replay(tmp_path / "plans.jsonl", {query_of(task).goal: [say(task.answer)] for task in tasks})
    summary = evaluate(RunSettings(data=copy, planner=planner, out=tmp_path / "out"))
    assert percents(summary, "AnsAcc", "L1") == [60, pytest.approx(33.33)]
    assert (summary["skipped"], summary["num_failed"], summary["num_errors"]) == (["metadata.parquet row 4"], 2, 2)
    (copy / "2023" / "validation" / "gone.pdf").write_bytes(b"%PDF")
    assert percents(evaluate(RunSettings(data=copy, planner=planner, out=tmp_path / "out")), "AnsAcc") == [80]


def test_wrong_settings_are_told(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia")
    out = tmp_path / "out"
    with pytest.raises(MissingFileError, match="your own access"):
        evaluate(RunSettings(data=tmp_path, planner="x", out=out))
    with pytest.raises(InputError, match="acts in no world"):
        evaluate(RunSettings(data=copy, planner="oracle", out=out))
    with pytest.raises(InputError, match="split 'train'"):
        evaluate(RunSettings(data=copy, planner="x", out=out), "train")
    write_gaia(tmp_path / "bad", [gaia_row(1, 9, "What is it?", "1")])
    with pytest.raises(InputError, match="holds no task"):
        evaluate(RunSettings(data=tmp_path / "bad", planner="x", out=out))


def test_two_runs_are_compared_exactly_and_a_question_is_not_shown(tmp_path: Path) -> None:
    copy = write_gaia(tmp_path / "gaia")
    for name, answers in (("first", ("1717171", "zq, xw", "no")), ("second", ("no", "no", "no"))):
        planner = replay(tmp_path / f"{name}.jsonl", copy, *([say(answer)] for answer in answers))
        evaluate(RunSettings(data=copy, planner=planner, out=tmp_path / "runs" / name))
    a, b = (load_folder(tmp_path / "runs" / name)[0] for name in ("first", "second"))
    report = compare([a, b]).benchmarks[0]
    assert report.benchmark == "gaia on GAIA validation with tools"
    assert set(report.slices["difficulty"]) == {"1", "2", "3"}
    pair = report.pairs[0]
    assert (pair.num_only_a, pair.num_only_b, pair.p_value) == (2, 0, 0.5)  # 2 x 0.5^2
    with pytest.raises(InputError, match="your own copy"):
        recorded_step(a, flips(a, b)[0].a)


def test_the_command_line_runs_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = write_gaia(tmp_path / "gaia")
    planner = replay(tmp_path / "plans.jsonl", copy, [say("1717171")], [INSPECT, say("zq, xw")], [say("no")])
    words = ["evaluate", "gaia", str(copy), "--planner", planner, "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "training.cli", *words, "--json"], cwd=ROOT, capture_output=True,
                          text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"]["AnsAcc"]["percent"] == pytest.approx(66.67)
    assert main(words) == 0
    told = capsys.readouterr()
    assert "L3" in told.out and "leaderboard file" in told.out and told.err == ""  # nothing is run again


def test_the_help_tells_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    told = capsys.readouterr().out
    assert all(words in told for words in ("--vision-server", "--mode", "PATH", "GAIA, from your own copy"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("gaia COPY --mode step --out OUT", "--mode is not of gaia"), ("gaia COPY", "--out is missing"),
        ("gaia COPY --tasks all --out OUT", "--tasks is not of gaia"), ("gaia --out OUT", "PATH is missing"),
        ("gaia COPY --seed 1 --out OUT", "--level and --seed"),
        ("gta COPY --split test --out OUT", "--split is not of gta"),
        ("gta COPY --mode step --max-steps 3 --out OUT", "--max-steps is of the mode end"),
        ("simulator COPY", "belongs to osworld, gta, gaia"),
        ("simulator --vision-server m@http://h", "--vision-server belongs to gta and gaia"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    paths = {"COPY": str(tmp_path), "OUT": str(tmp_path / "out")}
    assert main(["evaluate", *(paths.get(word, word) for word in words.split())]) == 2
    assert message in capsys.readouterr().err
