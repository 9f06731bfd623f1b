"""A planner on a copy of GTA, in its two modes. Scorers are those of training.benchmarks.gta.

Step by step (protocol "gta-step", GTA's every_with_gt): at every recorded step the planner is told the query and shown
its image, with the recorded calls and what they gave before it, and forecasts. No tool runs. The first forecast step is
scored: InstAcc, ToolAcc, ArgAcc, SummAcc. A sample is right when its call has the recorded name and arguments, or its
answer is right; the steps after it are scored alike, which gives the accuracy by lookahead.

End to end (protocol "gta", GTA's every): the planner acts with the query's tools until it answers: AnsAcc with and
without image generation, F1 of the four categories of tools, and beside them:

    AnsAcc_objective           the official verdict of the objective answers alone, which needs no similarity of texts
    AnsAcc_strict, AnsAcc_T3   `is_right_strict` and T3-Agent's lenient verdict on the same answers
    ToolAcc                    ours: `tool_accuracy`, recorded calls whose tool the planner called at all, T3-Agent's
                               tools counted for GTA's; given for both modes, in the first as ToolAcc_any
    CodeExec                   ours, see training.benchmarks.tool_runs; end to end only, since nothing runs step by step

How this differs from upstream: one image is shown, the newest that a call made, else the query's first; the others are
named. File names in the scratch folder have no folder, and are written back as GTA writes them before calls are scored.
A query that is not in GTA's form, or whose files are missing, is told and counted: the first is left out of all
figures, the second is wrong in them.

The folder holds one evaluation (training.benchmarks.evaluation), which grows query by query and goes on after a kill.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from executors.actions import Action
from executors.errors import InputError, WorkbenchError
from executors.geometry import ImageSize
from executors.trajectory import Observation, Step, Trajectory, load_screenshot
from training.benchmarks.baselines import BASELINES
from training.benchmarks.evaluation import Evaluation
from training.benchmarks.gta import (
    GtaSample,
    Judge,
    Move,
    Similarity,
    code_exec,
    is_right_strict,
    is_right_t3,
    read_samples,
    score_end_to_end,
    score_teacher_forced,
    tool_accuracy,
)
from training.benchmarks.journal import Journal
from training.benchmarks.offline import OnProgress, State, build_states, make_forecasts
from training.benchmarks.protocols.base import Outcome, Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.references import length_group
from training.benchmarks.tool_runs import (
    OnLine,
    RunSettings,
    ToolQuery,
    Verdict,
    figures_with_intervals,
    file_hash,
    file_problem,
    finish,
    known_tools,
    narrowed,
    open_run,
    percent,
    planner_shelf,
    run_queries,
    store,
    tools_name,
    vision_model,
)
from training.forecast import Forecast
from training.planner import Planner, ReplayPlanner, load_planner

ORACLE = "oracle"
"""Name of the planner that repeats what is recorded; end to end the calls really run."""
MAX_STEPS = 10
"""Steps of an episode, as upstream's max_turn."""
TOOLBOXES: dict[str, tuple[str, ...]] = {
    "": (),
    "t3": ("visualizer", "facedetection", "objectlocation", "inspect_file_as_text", "image_generator", "segmentation",
           "image_edit", "ask_search_agent", "python"),
}
"""Tools of every query by the name of the set; "" is each query's own. "t3" is what T3-Agent's run on GTA had."""
OBJECTIVE = ("AnsAcc_objective", "AnsAcc_strict", "AnsAcc_T3")
"""Figures of the objective answers."""
RECORDED = "recorded tools"
"""What an evaluation step by step names in place of a tool agent."""
_SOURCE = "open-compass/GTA, gta_bench.py (10eb3d2)"
_STEP = {"name": "gta-step", "version": 1, "title": "GTA step by step", "source": _SOURCE, "datasets": ("gta",),
         "set_sizes": {"queries": 229}}
_END = {**_STEP, "name": "gta", "title": "GTA end to end"}
PROTOCOLS = (_STEP["name"], _END["name"])
"""What evaluations of the two modes call their protocol."""
_MAX_SUMMARY_CHARS = 2000
"""What a planner is told of each recorded observation; upstream tells all of it."""


def evaluate_steps(
    settings: RunSettings,
    *,
    similarity: Similarity | None = None,
    on_progress: OnProgress | None = None,
    load: Callable[[str], Planner] = load_planner,
) -> dict[str, Any]:
    """Runs what is missing of the mode step by step, and gives its summary.

    Args:
        settings: see `RunSettings`; `max_steps` and `vision_server` are not of this mode.
        similarity: of two texts, for subjective answers (training.benchmarks.gta).
        on_progress: called after each batch.
        load: gives the planner; "oracle" and "random" are baselines.

    Raises:
        InputError, MissingFileError: copy, planner or a setting is wrong, or the folder is another evaluation's.
    """
    samples, skipped = _read(settings)
    shelf = planner_shelf(settings, load, BASELINES)
    about = open_run(settings, shelf, _about(settings, _STEP, {"tools": RECORDED}))
    protocol = step_protocol(samples, similarity)
    states = list(build_states(map(step_trajectory, samples), protocol, horizon=about["horizon"]))
    journal = Journal(settings.out / "forecasts.jsonl")
    problems = {sample.id: problem for sample in samples if (problem := file_problem(sample.files))}
    broken = [state for state in states if state.references[0].episode in problems]
    journal.append(
        {"id": state.id, "prompt": "", "error": problems[state.references[0].episode]}
        for state in broken if "forecast" not in journal.records.get(state.id, {})
    )
    whole = [state for state in states if state.references[0].episode not in problems]
    make_forecasts(whole, shelf.load, journal, shelf.config(about), batch_size=settings.batch_size,
                   on_progress=on_progress)
    return _finish_steps(settings, samples, states, protocol, journal, about, skipped, similarity)


def _finish_steps(
    settings: RunSettings, samples: Sequence[GtaSample], states: Sequence[State], protocol: Protocol, journal: Journal,
    about: Mapping[str, Any], skipped: Mapping[str, str], similarity: Similarity | None,
) -> dict[str, Any]:  # fmt: skip
    forecasts = {state.id: journal.records[state.id] for state in states}
    actions = {
        id: {"actions": [{"action": s["action"], "outcome": str(Outcome.OK)} for s in record["forecast"]["steps"]]}
        for id, record in forecasts.items() if "forecast" in record
    }  # fmt: skip
    moves = {sample.id: [predicted_move(forecasts[f"{sample.id}/{n}"]) for n in range(len(sample.moves))]
             for sample in samples}
    called = {id: [move.name for move in found if move.kind == "tool"] for id, found in moves.items()}

    def score(chosen: Sequence[GtaSample]) -> dict[str, float | None]:
        official = score_teacher_forced(chosen, moves, similarity=similarity)
        objective = [sample for sample in chosen if isinstance(sample.answer, Mapping)]
        return {
            **{name: official[name] for name in ("InstAcc", "ToolAcc", "ArgAcc", "SummAcc")},
            "SummAcc_objective": score_teacher_forced(objective, moves)["SummAcc"],
            "ToolAcc_any": tool_accuracy(chosen, called),
        }

    num_unscored = score_teacher_forced(samples, moves, similarity=similarity)["num_unscored"]
    figures = {"num_queries": len(samples), "num_unscored": num_unscored, "skipped": dict(skipped),
               "figures": figures_with_intervals(score, samples)}
    windows = [state.references for state in states]
    return store(protocol, RECORDED, windows, forecasts, actions, settings, about, figures)


def evaluate_end(
    settings: RunSettings,
    *,
    similarity: Similarity | None = None,
    on_line: OnLine | None = None,
    load: Callable[[str], Planner] = load_planner,
    tool_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs what is missing of the mode end to end, and gives its summary.

    Args:
        settings: see `RunSettings`.
        similarity: of two texts, for subjective answers and image queries (training.benchmarks.gta).
        on_line: called with a line of text after each query.
        load: gives the planner.
        tool_options: further arguments of `ToolExecutor`, such as `plugins` and `limits`.

    Raises:
        InputError, MissingFileError: as `evaluate_steps` does.
    """
    samples, skipped = _read(settings)
    model = vision_model(settings.vision_server)
    if settings.toolbox not in TOOLBOXES:
        raise InputError(f"toolbox {settings.toolbox!r}: choose one of {', '.join(filter(None, TOOLBOXES))}")
    queries = [end_query(sample, TOOLBOXES[settings.toolbox]) for sample in samples]
    if settings.planner == ORACLE:
        load = lambda _: oracle_planner(samples)  # noqa: E731
    elif settings.planner in BASELINES:
        raise InputError(f"planner {settings.planner!r} acts in no world: it is of the mode step")
    shelf = planner_shelf(settings, load)
    max_steps = settings.max_steps or MAX_STEPS
    more = {"tools": tools_name(settings), "max_steps": max_steps}
    about = open_run(settings, shelf, _about(settings, _END, more))
    journal = Journal(settings.out / "runs.jsonl")
    run_queries(queries, shelf.load, journal, shelf.config(about), settings,
                max_steps=max_steps, is_private=False,
                tool_options={"model": model, **(tool_options or {})}, on_line=on_line)  # fmt: skip
    return _finish_end(settings, samples, queries, journal, about, skipped, similarity)


def _finish_end(
    settings: RunSettings, samples: Sequence[GtaSample], queries: Sequence[ToolQuery], journal: Journal,
    about: Mapping[str, Any], skipped: Mapping[str, str], similarity: Similarity | None,
) -> dict[str, Any]:  # fmt: skip
    runs = {sample.id: journal.records[sample.id] for sample in samples}
    moves = {sample.id: run_moves(sample, runs[sample.id]) for sample in samples}
    called = {id: [call["name"] for call in run["calls"]] for id, run in runs.items()}

    def score(chosen: Sequence[GtaSample]) -> dict[str, float | None]:
        official = score_end_to_end(chosen, moves, similarity=similarity)
        parts = [verdicts[sample.id].parts for sample in chosen]
        return {
            **{name: official[name] for name in ("AnsAcc", "AnsAcc+ImgGen", "P_F1", "O_F1", "L_F1", "C_F1")},
            **{name: percent(found[name] for found in parts if name in found) for name in OBJECTIVE},
            "ToolAcc": tool_accuracy(chosen, called),
            "CodeExec": code_exec(ok for sample in chosen for ok in runs[sample.id]["ran"]),
        }  # fmt: skip

    judge = Judge("official", similarity)
    verdicts = {sample.id: _verdict(sample, runs[sample.id]["answer"], moves[sample.id], judge) for sample in samples}
    figures = {"num_unscored": score_end_to_end(samples, moves, similarity=similarity)["num_unscored"],
               "skipped": dict(skipped), "figures": figures_with_intervals(score, samples)}  # fmt: skip
    return finish(_END, queries, verdicts, journal, settings, about, figures)


def _verdict(sample: GtaSample, answer: str | None, run: Sequence[Move], judge: Judge) -> Verdict:
    slices = {"length": length_group(len(sample.moves)), "platform": "tools"}
    if not sample.answer:
        score = judge.image_score(run, sample.moves)
        return Verdict(success=None, parts={} if score is None else {"AnsAcc_ImgGen": score}, reference=None,
                       slices={**slices, "category": "image"})
    success = judge.verdict(answer or "", sample.answer)
    if not answer and success is not None:
        success = 0.0  # as upstream, which does not look at an empty answer
    if not isinstance(sample.answer, Mapping):
        return Verdict(success=success, parts={}, reference=answer_text(sample),
                       slices={**slices, "category": "subjective"})
    found = (success, bool(answer) and is_right_strict(answer, sample.answer),
             answer is not None and is_right_t3(answer, sample.answer))
    return Verdict(success=success, parts=dict(zip(OBJECTIVE, map(float, found), strict=True)),
                   reference=answer_text(sample), slices={**slices, "category": "objective"})


def _read(settings: RunSettings) -> tuple[list[GtaSample], dict[str, str]]:
    skipped: dict[str, str] = {}
    samples = read_samples(settings.data, skipped=skipped)[: settings.num_queries]
    if not samples:
        raise InputError(f"{settings.data} holds no query in GTA's form ({next(iter(skipped.values()))})")
    return samples, skipped


def _about(settings: RunSettings, sheet: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    file = settings.data / "dataset.json" if settings.data.is_dir() else settings.data
    return {"benchmark": sheet["name"], "data": f"GTA{narrowed(settings)}", "datasets": ["gta"],
            "data_path": str(file.resolve()), "data_hash": file_hash(file), **more}


def step_protocol(samples: Sequence[GtaSample], similarity: Similarity | None = None) -> Protocol:
    """The rules step by step: a call needs the recorded name and arguments, an answer the official verdict.

    `success` is None for the answer of an image query, and for a subjective one without a similarity.
    """
    truths = {sample.id: sample.answer for sample in samples}
    judge = Judge("official", similarity)

    def score(reference: ReferenceStep, prediction: Prediction) -> StepScore:
        wanted, action = reference.action, prediction.action
        is_type_right = action is not None and action.type == wanted.type
        if wanted.type == "tool_call":
            is_tool = is_type_right and action.name == wanted.name
            is_call = is_tool and action.arguments == wanted.arguments
            return StepScore(is_type_right=is_type_right, success=float(is_call),
                             parts={"ToolAcc": float(is_tool), "ArgAcc": float(is_call)})
        truth = truths[reference.episode]
        verdict = judge.verdict((action.content or "") if is_type_right else "", truth) if truth else None
        if verdict is not None and not is_type_right:
            verdict = 0.0
        return StepScore(is_type_right=is_type_right, success=verdict,
                         parts={} if verdict is None else {"SummAcc": verdict})

    return Protocol(**_STEP, score_step=score)


def step_trajectory(sample: GtaSample) -> Trajectory:
    """The recorded dialog as a trajectory: each step shows what the call before it gave, and the newest image."""
    image = _image(sample.files)
    text = f"files: {', '.join(sample.names)}" if sample.names else "no files"
    steps, num_calls = [], 0
    for move in sample.moves:
        if move.kind == "tool":
            action = Action(type="tool_call", name=move.name, arguments=dict(move.arguments))
        else:
            action = Action(type="finished", content=move.text)
        summary = " ".join(text.split())[:_MAX_SUMMARY_CHARS]
        steps.append(Step(observation=replace(image, text=text, summary=summary), action=action,
                          instruction=f"call {move.name}" if move.kind == "tool" else "give the answer"))
        if move.kind == "tool":
            returned = sample.returns[num_calls] if num_calls < len(sample.returns) else None
            num_calls += 1
            text = _return_text(returned)
            made = _image([sample.root / path] if (path := _returned_image(returned)) else [])
            image = made if made.image_size is not None else image
    return Trajectory(id=sample.id, goal=goal_of(sample, sample.names), steps=tuple(steps), source="gta",
                      platform="tools", split="test", licence="Apache-2.0", meta={"tools": list(sample.tools)})


def goal_of(sample: GtaSample, names: Sequence[str]) -> str:
    """What a planner is asked: the query and the names of its files."""
    return f"{sample.query}\nFiles: {', '.join(names)}" if names else sample.query


def _image(files: Sequence[Path]) -> Observation:
    """An observation of the first of these files that is an image; of nothing where none is."""
    for path in files:
        try:
            width, height = load_screenshot(path).size
        except WorkbenchError:
            continue
        return Observation(image_path=path, image_size=ImageSize(width, height))
    return Observation()


def _return_text(returned: Any) -> str:
    """What a call gave, in words."""
    if (path := _returned_image(returned)) is not None:
        return f"made the image {path}"
    content = returned.get("content") if isinstance(returned, Mapping) else returned
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _returned_image(returned: Any) -> str | None:
    """The path of the image that a call made, as recorded; None where it made none, or names one outside the copy."""
    if not isinstance(returned, Mapping) or returned.get("type") != "image":
        return None
    path = returned.get("content")
    if not isinstance(path, str) or not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        return None
    return path


def predicted_move(record: Mapping[str, Any]) -> Move:
    """The first step of a journalled forecast as GTA counts it; what is neither call nor answer is an error."""
    first = Forecast.from_json(record["forecast"]).first if "forecast" in record else None
    if first is not None and first.action.type == "tool_call":
        return Move(kind="tool", name=first.action.name, arguments=first.action.arguments)
    if first is not None and first.action.type == "finished":
        return Move(kind="answer", text=first.action.content or "")
    return Move(kind="tool_return", is_error=True)


def scratch_names(sample: GtaSample) -> dict[str, str]:
    """The name of each attached file in the scratch folder -> its path as the dialogs write it.

    >>> scratch_names(GtaSample(id="0", query="q", tools=(), files=(), moves=(), names=("image/a.jpg", "b/a.jpg")))
    {'a.jpg': 'image/a.jpg', '2-a.jpg': 'b/a.jpg'}
    """
    names: dict[str, str] = {}
    for number, path in enumerate(sample.names, start=1):
        name = PurePosixPath(path).name
        names[f"{number}-{name}" if name in names else name] = path
    return names


def end_query(sample: GtaSample, tools: Sequence[str] = ()) -> ToolQuery:
    """The query as it is asked end to end, with these tools, else with those of its own that are known here."""
    names = scratch_names(sample)
    return ToolQuery(id=sample.id, goal=goal_of(sample, list(names)), files=dict(zip(names, sample.files, strict=True)),
                     tools=tuple(tools) or known_tools(sample.tools))


def run_moves(sample: GtaSample, run: Mapping[str, Any]) -> list[Move]:
    """A journalled run as GTA's scorer takes it: calls with the paths as the dialogs write them, then the answer."""
    names = scratch_names(sample)

    def path_of(value: Any) -> Any:
        return names.get(value.removeprefix("/scratch/").removeprefix("./"), value) if isinstance(value, str) else value

    moves = [
        Move(kind="tool", name=call["name"], is_error=call["kind"] is not None,
             arguments={name: path_of(value) for name, value in call["arguments"].items()})
        for call in run["calls"]
    ]  # fmt: skip
    return moves if run["answer"] is None else [*moves, Move(kind="answer", text=run["answer"])]


def oracle_planner(samples: Sequence[GtaSample]) -> ReplayPlanner:
    """A planner that makes the recorded calls, whatever they give now, and then the recorded answer."""
    def of(sample: GtaSample) -> Trajectory:
        back = {path: name for name, path in scratch_names(sample).items()}
        recorded = step_trajectory(sample)
        steps = tuple(replace(step, action=_with_names(step.action, back)) for step in recorded.steps)
        return replace(recorded, goal=end_query(sample).goal, steps=steps)

    return ReplayPlanner.of_trajectories(map(of, samples), name=ORACLE)


def _with_names(action: Action, names: Mapping[str, str]) -> Action:
    if action.arguments is None:
        return action
    return replace(action, arguments={key: names.get(value, value) if isinstance(value, str) else value
                                      for key, value in action.arguments.items()})


def answer_text(sample: GtaSample) -> str | None:
    """The recorded answer in one line; None for an image query.

    >>> truth = {"whitelist": [["a", "b"], ["c"]], "blacklist": None}
    >>> answer_text(GtaSample(id="0", query="q", tools=(), files=(), moves=(), answer=truth))
    'a | b; c'
    """
    if isinstance(sample.answer, Mapping):
        return "; ".join(" | ".join(group) for group in sample.answer["whitelist"])
    return " | ".join(sample.answer) if sample.answer else None


def recorded_query(evaluation: Evaluation, id: str) -> Trajectory | None:
    """The recorded dialog that a query of an evaluation is about, None when the copy has it no more.

    End to end it has one step, the answer, since a run's steps are its own.

    Raises:
        MissingFileError, InputError: the copy is gone, or is no GTA any more.
    """
    samples = read_samples(Path(str(evaluation.settings.get("data_path", ""))), skipped={})
    sample = next((sample for sample in samples if sample.id == id), None)
    if sample is None or evaluation.protocol == _STEP["name"]:
        return None if sample is None else step_trajectory(sample)
    answer = Step(observation=_image(sample.files), instruction="give the answer",
                  action=Action(type="finished", content=answer_text(sample)))
    return replace(step_trajectory(sample), steps=(answer,))
