"""A planner on the user's own copy of GAIA, end to end: levels, the official scorer, and a file for the leaderboard.

    question     asked under the published system prompt, with the attached file in the scratch folder
    tools        those of T3-Agent's run on GAIA (visualizer, inspect_file_as_text, ask_search_agent), visits of pages,
                 and Python; the network is off, and the tools that need it say so
    answer       what `finished` or final_answer gave, without "FINAL ANSWER:"; no model writes it anew
    validation   AnsAcc of all levels and of each, in percent with intervals
    test         answers are hidden: nothing is scored
    submission   submission.jsonl in the leaderboard's form, one line for each task of the split, "" without an answer
    CodeExec     ours, see training.benchmarks.tool_runs
    ToolAcc      ours: the percentage of tool calls that name a tool and give it arguments that fit, since GAIA records
                 no calls to compare with

Nothing of GAIA is stored: the folder holds ids, levels, the planner's answers, verdicts, names of called tools and a
short hash of each prompt; neither questions, true answers and files nor arguments and thoughts, which may quote them.

Source of the submission's form: gaia-benchmark/leaderboard, content.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from executors.errors import InputError, OutputError
from executors.files import partial_path
from training.benchmarks.baselines import BASELINES
from training.benchmarks.gaia import PROMPT, GaiaTask, final_answer, is_right, read_tasks, summarise
from training.benchmarks.gta import code_exec
from training.benchmarks.journal import Journal
from training.benchmarks.tool_runs import (
    OnLine,
    RunSettings,
    ToolQuery,
    Verdict,
    figures_with_intervals,
    finish,
    narrowed,
    open_run,
    percent,
    planner_shelf,
    run_queries,
    tools_name,
    vision_model,
)
from training.planner import Planner, load_planner

MAX_STEPS = 15
"""Steps of an episode, as T3-Agent's max_iterations."""
TOOLS = ("python", "inspect_file_as_text", "visualizer", "ask_search_agent", "visit_page")
SUBMISSION = "submission.jsonl"
PROTOCOL = "gaia"
_SHEET = {"name": PROTOCOL, "version": 1, "title": "GAIA end to end", "source": "gaia-benchmark/leaderboard, scorer.py",
          "datasets": ("gaia",), "set_sizes": {"validation": 165, "test": 301}}
_MISFITS = ("unknown tool", "bad arguments")


def evaluate(
    settings: RunSettings,
    split: str = "validation",
    *,
    on_line: OnLine | None = None,
    load: Callable[[str], Planner] = load_planner,
    tool_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs the tasks that the folder lacks, writes the submission, and gives the summary.

    Args:
        settings: see `RunSettings`.
        split: "validation" or "test".
        on_line: called with a line of text after each task.
        load: gives the planner.
        tool_options: further arguments of `ToolExecutor`, such as `plugins` and `limits`.

    Raises:
        InputError, MissingFileError: copy, planner or a setting is wrong, or the folder is another evaluation's.
        OutputError: the folder cannot be written.
    """
    if settings.planner in BASELINES:
        raise InputError(f"planner {settings.planner!r} acts in no world: give a planner that answers questions")
    skipped: list[str] = []
    tasks = read_tasks(settings.data, split=split, skipped=skipped)[: settings.num_queries]
    if not tasks:
        raise InputError(f"{settings.data} holds no task in GAIA's form ({len(skipped)} rows are not)")
    model = vision_model(settings.vision_server)
    max_steps = settings.max_steps or MAX_STEPS
    shelf = planner_shelf(settings, load)
    about = open_run(settings, shelf, {
        "benchmark": _SHEET["name"], "data": f"GAIA {split}{narrowed(settings)}", "datasets": ["gaia"],
        "data_path": str(settings.data.resolve()), "tools": tools_name(settings), "max_steps": max_steps,
    })  # fmt: skip
    queries = [query_of(task) for task in tasks]
    journal = Journal(settings.out / "runs.jsonl")
    run_queries(queries, shelf.load, journal, shelf.config(about), settings, max_steps=max_steps, is_private=True,
                tool_options={"model": model, **(tool_options or {})}, on_line=on_line)  # fmt: skip
    return _finish(settings, tasks, queries, journal, about, skipped)


def _finish(
    settings: RunSettings, tasks: Sequence[GaiaTask], queries: Sequence[ToolQuery], journal: Journal,
    about: Mapping[str, Any], skipped: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    runs = {task.id: journal.records[task.id] for task in tasks}
    answers = {id: final_answer(run["answer"]) for id, run in runs.items() if run["answer"] is not None}
    write_submission(settings.out / SUBMISSION, tasks, answers)

    def score(chosen: Sequence[GaiaTask]) -> dict[str, float | None]:
        official = summarise(chosen, answers)
        kinds = [call["kind"] for task in chosen for call in runs[task.id]["calls"]]
        return {
            **{name: official[name] for name in ("AnsAcc", "L1", "L2", "L3")},
            "ToolAcc": percent(kind not in _MISFITS for kind in kinds),
            "CodeExec": code_exec(ok for task in chosen for ok in runs[task.id]["ran"]),
        }  # fmt: skip

    verdicts = {
        task.id: Verdict(success=None if task.answer is None else float(_is_right(answers.get(task.id), task.answer)),
                         parts={}, reference=None, slices={"difficulty": f"{task.level}", "platform": "tools"})
        for task in tasks
    }  # fmt: skip
    figures = {"num_hidden": sum(task.answer is None for task in tasks), "skipped": list(skipped),
               "figures": figures_with_intervals(score, tasks),
               "submission": str(settings.out / SUBMISSION)}  # fmt: skip
    return finish(_SHEET, queries, verdicts, journal, settings, about, figures)


def _is_right(answer: str | None, truth: str) -> bool:
    return answer is not None and is_right(answer, truth)


def query_of(task: GaiaTask) -> ToolQuery:
    """The question under the published prompt; the attached file keeps its name."""
    files = {} if task.file is None else {task.file.name: task.file}
    told = "".join(f"\nAttached file: {name}" for name in files)
    return ToolQuery(id=task.id, goal=f"{PROMPT}\n\n{task.question}{told}", files=files, tools=TOOLS)


def write_submission(path: Path, tasks: Sequence[GaiaTask], answers: Mapping[str, str]) -> None:
    """Writes a line {"task_id", "model_answer"} for each task; the optional trace is left out: it would quote GAIA.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = [json.dumps({"task_id": task.id, "model_answer": answers.get(task.id, "")}) for task in tasks]
    try:
        temporary = partial_path(path)
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a folder you may write") from None
