"""GTA's two modes on a made-up copy: figures by hand, what is broken, what is gone on with, and what Compare shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.sandbox import SandboxLimits
from tests.chat_server import completion, serve
from tests.support import require_sandbox
from tests.training.benchmarks.copies import GTA_QUERIES, call, dialog, query, say, text, write_gta, write_replay
from training.benchmarks.comparison import compare, flips
from training.benchmarks.evaluation import load_folder, stored_summaries
from training.benchmarks.gta import read_samples
from training.benchmarks.gta_run import (
    TOOLBOXES,
    end_query,
    evaluate_end,
    evaluate_steps,
    run_moves,
    step_trajectory,
)
from training.benchmarks.recordings import recorded_step
from training.benchmarks.tool_runs import RunSettings
from workbench.compare_shelf import EvaluationShelf

ROOT = Path(__file__).resolve().parents[3]


def same(one: str, other: str) -> float:
    """A similarity that knows equal texts only."""
    return float(one == other)


def percents(summary: dict[str, Any], *names: str) -> list[float | None]:
    """These figures of a summary."""
    return [found and found["percent"] for found in (summary["figures"][name] for name in names)]


def step_replay(tmp_path: Path, copy: Path, **plans: Sequence[Action]) -> str:
    """A planner that makes these moves for these queries, and the recorded ones for the others."""
    moves = {}
    for sample in read_samples(copy):
        recorded = step_trajectory(sample)
        moves[recorded.goal] = plans.get(f"q{sample.id}", [step.action for step in recorded.steps])
    return write_replay(tmp_path / "plans.jsonl", moves)


def test_the_recorded_steps_get_full_marks_step_by_step(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    for planner in ("oracle", step_replay(tmp_path, copy)):
        settings = RunSettings(data=copy, planner=planner, out=tmp_path / planner.partition(":")[0])
        summary = evaluate_steps(settings, similarity=same)
        # 9 steps of the recorded type, of 5 calls and 3 samples with an answer: upstream's more than all
        assert percents(summary, "InstAcc", "ToolAcc", "ArgAcc", "SummAcc") == [112.5, 100, 100, 100]
        assert percents(summary, "ToolAcc_any") == [100]
        assert (summary["num_steps"], summary["num_queries"], summary["num_errors"]) == (9, 4, 0)
        assert summary["step_success"] == {"rate": 1.0, "num": 8}  # the image query's answer is not scored
        assert summary["figures"]["ToolAcc"]["ci95"] == [51.01, 100.0]  # Wilson's for 4 of 4 queries


def test_wrong_steps_are_counted_as_gta_counts_them(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    planner = step_replay(
        tmp_path, copy, q0=[call("Solver", command="1"), say("37")],
        q1=[call("Calculator", expression="7 + 5"), call("Calculator", expression="12 + 2"), say("24 apples")],
        q2=[say("no"), say("Here it is.")],
    )  # fmt: skip
    summary = evaluate_steps(RunSettings(data=copy, planner=planner, out=tmp_path / "out"))
    # by hand, of 5 calls: the type is right at 8 of 9 steps; the tool at 2 + 1; the arguments at 1 + 1
    assert percents(summary, "InstAcc", "ToolAcc", "ArgAcc", "SummAcc_objective") == [100, 60, 40, 50]
    assert summary["figures"]["SummAcc"] is None and summary["num_unscored"] == 1
    assert summary["parts"] == {
        "ArgAcc": {"rate": 0.4, "num": 5}, "SummAcc": {"rate": 0.5, "num": 2}, "ToolAcc": {"rate": 0.6, "num": 5}}
    low, high = summary["figures"]["ToolAcc"]["ci95"]
    assert 0 <= low < 60 < high <= 100


def test_each_step_is_told_the_recorded_calls_and_what_they_gave(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    reply = "1. finished(content='24') | done"
    with serve((200, completion(reply))) as server:
        planner = f"openai:m@{server.url}"
        evaluate_steps(RunSettings(data=copy, planner=planner, out=tmp_path / "out", batch_size=1))
    asked = [body["messages"][-1]["content"] for _, _, body in server.seen]
    assert len(asked) == 9
    third = asked[4]  # the answer of query 1, after its two calls
    words = next(part["text"] for part in third if part["type"] == "text")
    assert "How many apples are there twice?\nFiles: image/apples.png" in words
    assert '"expression": "7 + 5"' in words and '"expression": "12 * 2"' in words
    assert "[12]" in words and "Tool output:\n24" in words
    assert "- Calculator(expression: text)" in words and "OCR(" not in words  # the query's tools, no others
    assert "image_url" in {part["type"] for part in third}
    assert "24 apples" not in words


def test_a_query_that_cannot_be_read_is_left_out_and_a_missing_image_is_wrong(tmp_path: Path) -> None:
    gone = {**GTA_QUERIES["0"], "files": [{"type": "image", "path": "image/gone.png"}]}
    torn = {**GTA_QUERIES["1"], "files": [{"type": "image", "path": "image/torn.png"}]}
    copy = write_gta(tmp_path / "gta", {**GTA_QUERIES, "4": {"tools": 5}, "5": gone, "6": torn})
    (copy / "image" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    summary = evaluate_steps(RunSettings(data=copy, planner="oracle", out=tmp_path / "step"))
    assert list(summary["skipped"]) == ["4"] and "field 'tools'" in summary["skipped"]["4"]
    assert (summary["num_queries"], summary["num_errors"], summary["num_steps"]) == (6, 5, 14)
    assert percents(summary, "ToolAcc") == [62.5]  # 5 of 8 calls
    summary = evaluate_end(RunSettings(data=copy, planner="oracle", out=tmp_path / "end"))
    assert (summary["num_queries"], summary["num_failed"], len(summary["skipped"])) == (6, 2, 1)
    assert percents(summary, "AnsAcc_objective") == [50]
    write_gta(tmp_path / "gta", {**GTA_QUERIES, "5": gone})
    with pytest.raises(InputError, match="data_hash"):
        evaluate_steps(RunSettings(data=copy, planner="oracle", out=tmp_path / "step"))


def test_queries_that_failed_are_run_again_and_others_are_not(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    image = copy / "image" / "apples.png"
    held = image.read_bytes()
    image.unlink()
    for evaluate in (evaluate_steps, evaluate_end):
        settings = RunSettings(data=copy, planner="oracle", out=tmp_path / evaluate.__name__)
        assert evaluate(settings)["num_errors"] > 0
        image.write_bytes(held)
        lines: list[str] = []
        again = evaluate(settings, **({"on_line": lines.append} if evaluate is evaluate_end else {}))
        assert again["num_errors"] == 0
        if evaluate is evaluate_end:
            assert sorted(line.split()[1] for line in lines) == ["1:", "3:"]
            assert again["num_failed"] == 0
        image.unlink()


def test_the_recorded_calls_really_run_end_to_end(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    summary = evaluate_end(RunSettings(data=copy, planner="oracle", out=tmp_path / "out"), similarity=same)
    names = ("AnsAcc", "AnsAcc+ImgGen", "AnsAcc_objective", "AnsAcc_strict", "AnsAcc_T3", "ToolAcc", "CodeExec")
    assert percents(summary, *names) == [100, 100, 100, 100, 100, 100, 80]  # the search of 5 calls is unavailable
    assert percents(summary, "L_F1", "O_F1") == pytest.approx([100, 100], abs=0.01)
    assert percents(summary, "P_F1", "C_F1") == [None, None]
    assert summary["figures"]["O_F1"]["ci95"] == [34.24, 100.0]  # Wilson's for 2 of 2 queries
    assert summary["tool_failures"] == {"unavailable": 1}
    assert summary["step_success"] == {"rate": 1.0, "num": 3} and summary["stop_reasons"] == {"finished": 4}
    runs = [json.loads(line) for line in (tmp_path / "out" / "runs.jsonl").read_text().splitlines()]
    assert {run["id"]: run["num_steps"] for run in runs} == {"0": 2, "1": 3, "2": 2, "3": 2}


def test_wrong_runs_end_to_end_by_hand(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    goals = {sample.id: end_query(sample).goal for sample in read_samples(copy)}
    planner = write_replay(tmp_path / "plans.jsonl", {
        goals["0"]: [call("Calculator", expression="12 * 3"), call("Calculator", expression="1 / 0"), say("x36y")],
        goals["1"]: [say("24 or 25")],
        goals["2"]: [call("DrawBox", image="gone.png", bbox="(1, 1, 20, 20)"), say("Here it is.")],
        goals["3"]: [call("Teleport"), call("DrawBox", image="apples.png"), Action(type="call_user")],
    })  # fmt: skip
    summary = evaluate_end(RunSettings(data=copy, planner=planner, out=tmp_path / "out"), similarity=same)
    # official: 36 has letters beside it, 25 is on the blacklist; T3-Agent's is lenient with both
    assert percents(summary, "AnsAcc", "AnsAcc_objective", "AnsAcc_T3") == [0, 0, 100]
    assert percents(summary, "AnsAcc+ImgGen") == [0]  # the call of the image query failed
    # logic: 3 recorded calls, hit 1; 2 called. operation: 2 recorded, DrawBox hit; 2 called
    assert percents(summary, "L_F1", "O_F1") == pytest.approx([100 * 2 * (1 / 2) * (1 / 3) / (5 / 6), 50], abs=0.01)
    assert percents(summary, "ToolAcc", "CodeExec") == [40, 20]  # 2 of 5 recorded calls; 1 of 5 actions ran
    # query 3 has only the search, so DrawBox is unknown there; query 2 names a file that is not there
    assert summary["tool_failures"] == {"bad arguments": 1, "failed": 1, "unknown tool": 2}
    assert summary["num_without_answer"] == 1 and summary["num_errors"] == 0


def test_replies_that_are_no_plan_are_wrong_and_counted(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    with serve((200, completion("I do not know"))) as server:
        planner = f"openai:m@{server.url}"
        end = evaluate_end(RunSettings(data=copy, planner=planner, out=tmp_path / "end"))
        step = evaluate_steps(RunSettings(data=copy, planner=planner, out=tmp_path / "step"))
    assert percents(end, "AnsAcc_objective", "CodeExec", "ToolAcc") == [0, 0, 0]
    assert (end["num_without_answer"], end["parse_failure_rate"], end["num_failed"]) == (4, 1.0, 0)
    assert percents(step, "InstAcc", "ToolAcc", "SummAcc_objective") == [0, 0, 0]
    assert step["parse_failure_rate"] == 1.0


def test_a_server_that_fails_is_an_error_and_asked_again(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    with serve((400, "no")) as server:
        settings = RunSettings(data=copy, planner=f"openai:m@{server.url}", out=tmp_path / "out", num_queries=2)
        summary = evaluate_end(settings)
        assert (summary["num_failed"], summary["step_success"]["rate"]) == (2, 0.0) and summary["num_errors"] >= 2
        server.answers[:] = [(200, completion("1. finished(content='24, 36') | done"))]
        summary = evaluate_end(settings)
    assert (summary["num_failed"], summary["num_errors"], summary["step_success"]["rate"]) == (0, 0, 1.0)


def _raise(query: str, k: int = 4) -> str:
    raise RuntimeError("broken on purpose")


def _hang(query: str, k: int = 4) -> str:
    time.sleep(30)
    return ""


# What the plugged-in search does, and the kind under which the call is counted; too much text is cut, and goes on.
@pytest.mark.parametrize(
    ("search", "kind"),
    [(_raise, "failed"), (_hang, "limit"), (lambda query: "x" * 100_000_000, None), (lambda query: 5, "wrong result")],
)  # fmt: skip
def test_a_tool_that_misbehaves_is_counted_and_the_run_goes_on(tmp_path: Path, search: Any, kind: str | None) -> None:
    copy = write_gta(tmp_path / "gta", {key: GTA_QUERIES[key] for key in ("3", "0")})
    summary = evaluate_end(
        RunSettings(data=copy, planner="oracle", out=tmp_path / "out"), similarity=same,
        tool_options={"plugins": {"GoogleSearch": search}, "limits": SandboxLimits(wall_seconds=1)},
    )  # fmt: skip
    assert percents(summary, "AnsAcc") == [100]
    assert summary["tool_failures"] == ({} if kind is None else {kind: 1}) and summary["num_failed"] == 0
    assert (tmp_path / "out" / "runs.jsonl").stat().st_size < 10_000


def test_tools_of_t3_agent_count_for_gta_s(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta", {"0": GTA_QUERIES["0"]})
    goal = end_query(read_samples(copy)[0]).goal
    planner = write_replay(tmp_path / "plans.jsonl", {goal: [
        call("python", code="print(12 * 3)"), call("visualizer", question="?", image_path="pens.png"), say("36")]})
    summary = evaluate_end(RunSettings(data=copy, planner=planner, out=tmp_path / "out", toolbox="t3"))
    assert percents(summary, "ToolAcc", "AnsAcc", "L_F1") == [100, 100, 0]
    assert summary["tool_agent"] == "t3 tools" and summary["tool_failures"]["unavailable"] >= 1
    with pytest.raises(InputError, match="toolbox"):
        evaluate_end(RunSettings(data=copy, planner=planner, out=tmp_path / "two", toolbox="t4"))
    assert "python" in TOOLBOXES["t3"]


def test_calls_that_code_makes_are_counted_too(tmp_path: Path) -> None:
    require_sandbox()
    copy = write_gta(tmp_path / "gta", {"3": GTA_QUERIES["3"]})
    goal = end_query(read_samples(copy)[0]).goal
    code = "found = ask_search_agent(query='flag')\nfinal_answer(found)"
    planner = write_replay(tmp_path / "plans.jsonl", {goal: [call("python", code=code)]})
    summary = evaluate_end(
        RunSettings(data=copy, planner=planner, out=tmp_path / "out", toolbox="t3"), similarity=same,
        tool_options={"plugins": {"ask_search_agent": lambda query: "red and blue"}},
    )  # fmt: skip
    assert percents(summary, "AnsAcc", "ToolAcc", "CodeExec") == [100, 100, 100]
    assert summary["stop_reasons"] == {"world_ended": 1}
    run = json.loads((tmp_path / "out" / "runs.jsonl").read_text())
    assert [(found["name"], found["arguments"]) for found in run["calls"]] == [
        ("python", {"code": code}), ("ask_search_agent", {"query": "flag"})]  # fmt: skip


def test_tools_that_look_at_images_ask_the_server(tmp_path: Path) -> None:
    seen = query(dialog("What is it?", ("ImageDescription", {"image": "image/pens.png"}, text("a cat")), "a cat"),
                 {"whitelist": [["cat"]], "blacklist": None}, "image/pens.png", tools=["ImageDescription"])  # fmt: skip
    copy = write_gta(tmp_path / "gta", {"0": seen})
    with serve((200, completion("a cat"))) as server:
        settings = RunSettings(data=copy, planner="oracle", out=tmp_path / "out", vision_server=f"some/m@{server.url}")
        summary = evaluate_end(settings)
        parts = server.seen[0][2]["messages"][0]["content"]
    assert percents(summary, "AnsAcc", "P_F1", "CodeExec") == pytest.approx([100, 100, 100], abs=0.01)
    assert summary["tool_agent"] == "tools and some/m" and parts[0]["type"] == "image_url"
    with pytest.raises(InputError, match="tools 'tools and some/m', not 'tools'"):
        evaluate_end(RunSettings(data=copy, planner="oracle", out=tmp_path / "out"))


def test_a_reactive_planner_and_chance_are_judged_too(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    summary = evaluate_steps(RunSettings(data=copy, planner="random", out=tmp_path / "a", reactive=True, num_queries=2))
    assert (summary["mode"], summary["horizon"], summary["data"]) == ("reactive", 1, "GTA, first 2 queries")
    assert percents(summary, "ToolAcc") == [0] and list(summary["by_lookahead"]) == ["1"]


def test_files_of_one_name_are_told_apart_and_named_back(tmp_path: Path) -> None:
    made = query(dialog("Compare.", ("OCR", {"image": "b/pens.png"}, text("a")), "a"), ["a"], "image/pens.png",
                 "b/pens.png", tools=["OCR"])  # fmt: skip
    sample = read_samples(write_gta(tmp_path, {"0": made}))[0]
    assert list(end_query(sample).files) == ["pens.png", "2-pens.png"]
    run = {"answer": None, "calls": [{"name": "OCR", "arguments": {"image": "./2-pens.png", "n": 5}, "kind": None}]}
    assert run_moves(sample, run)[0].arguments == {"image": "b/pens.png", "n": 5}


def test_wrong_settings_are_told(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    out = tmp_path / "out"
    with pytest.raises(MissingFileError, match="dataset.json"):
        evaluate_steps(RunSettings(data=tmp_path / "gone", planner="oracle", out=out))
    with pytest.raises(InputError, match="acts in no world"):
        evaluate_end(RunSettings(data=copy, planner="random", out=out))
    with pytest.raises(InputError, match="vision server"):
        evaluate_end(RunSettings(data=copy, planner="oracle", out=out, vision_server="model"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "dataset.json").write_text('{"0": 5}')
    with pytest.raises(InputError, match="holds no query"):
        evaluate_steps(RunSettings(data=tmp_path / "bad", planner="oracle", out=out))
    evaluate_steps(RunSettings(data=copy, planner="oracle", out=out))
    with pytest.raises(InputError, match="benchmark 'gta-step'"):
        evaluate_end(RunSettings(data=copy, planner="oracle", out=out))


def test_two_runs_are_compared_exactly_and_shown_with_their_images(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    goals = {sample.id: end_query(sample).goal for sample in read_samples(copy)}
    wrong = write_replay(tmp_path / "plans.jsonl", {goal: [say("no")] for goal in goals.values()})
    for name, planner in (("right", "oracle"), ("wrong", wrong)):
        evaluate_end(RunSettings(data=copy, planner=planner, out=tmp_path / "runs" / "end" / name), similarity=same)
    shelf = EvaluationShelf(tmp_path / "runs")
    assert [row.id for row in shelf.list()] == ["end/right/gta.tools", "end/wrong/gta.tools"]
    assert [row["benchmark"] for row in stored_summaries(tmp_path)] == ["gta on GTA with tools"] * 2
    a, b = (load_folder(tmp_path / "runs" / "end" / name)[0] for name in ("right", "wrong"))
    pair = compare([a, b]).benchmarks[0].pairs[0]
    assert (pair.num_only_a, pair.num_only_b, pair.gap, pair.p_value) == (3, 0, -1.0, 0.25)  # 2 x 0.5^3
    flip = flips(a, b)[0]
    step = recorded_step(a, flip.a)
    assert step.observation.load_image().size == (40, 30) and step.action == flip.a.steps[0].reference
    (copy / "dataset.json").unlink()
    with pytest.raises(MissingFileError, match="dataset.json"):
        recorded_step(a, flip.a)


def run_command(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The real command line."""
    return subprocess.run(
        [sys.executable, "-m", "training.cli", "evaluate", *map(str, words)], cwd=ROOT, capture_output=True, text=True,
        timeout=300, check=False, **options,
    )  # fmt: skip


def test_the_command_line_runs_both_modes(tmp_path: Path) -> None:
    copy = write_gta(tmp_path / "gta")
    done = run_command("gta", copy, "--planner", "oracle", "--mode", "step", "--out", tmp_path / "step", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"]["ArgAcc"]["percent"] == 100
    done = run_command("gta", copy, "--planner", "oracle", "--out", tmp_path / "end", "--episodes", 2)
    assert done.returncode == 0, done.stderr
    assert "AnsAcc             100.0 % (95 % interval" in done.stdout and "2/2" in done.stderr
    done = run_command("gta", "--planner", "oracle", "--out", tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, "") and "PATH is missing" in done.stderr


@pytest.mark.parametrize("mode", ["step", "end"])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, mode: str) -> None:
    copy = write_gta(tmp_path / "gta")
    reply = (200, completion("1. finished(content='24, 36') | done"))
    out = tmp_path / "out"
    journal = out / ("forecasts.jsonl" if mode == "step" else "runs.jsonl")
    num_asked = {"step": 9, "end": 4}[mode]
    with serve(reply, reply, (200, 600.0)) as server:
        words = ["gta", copy, "--mode", mode, "--planner", f"openai:m@{server.url}", "--out", out, "--batch-size", 1]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen([sys.executable, "-m", "training.cli", "evaluate", *map(str, words)], cwd=ROOT,
                                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while len(server.seen) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        assert len(journal.read_text().splitlines()) == 2
        with journal.open("a") as torn:
            torn.write('{"id": "3", "answ')  # what a kill in the middle of a write leaves
        server.answers[:] = [reply]
        done = run_command(*words, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    assert len(server.seen) == 3 + num_asked - 2
    figures = json.loads(done.stdout)["figures"]
    assert figures[{"step": "SummAcc_objective", "end": "AnsAcc_objective"}[mode]]["percent"] == 100
