"""`tracer1 evaluate gta|gaia PATH`: a planner on the user's own copy of a data set of tool use."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from executors.errors import InputError

GTA = "gta"
GAIA = "gaia"
TITLES = {
    GTA: "GTA, from the folder of its dataset.json: step by step (--mode step), or end to end with tools that run",
    GAIA: "GAIA, from your own copy, the folder that holds 2023/: end to end; nothing of it is kept",
}
_NOT_HERE = ("data", "references", "run", "tasks", "tool_agent")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options that only these have."""
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH",
                        help="of gta and gaia (needed): your copy; of osworld: its test_all.json, or a folder of tasks")
    group = parser.add_argument_group("gta and gaia only", "They need PATH and --out. Network tools are off; without "
                                      "--vision-server the tools that look at images say that they cannot.")
    group.add_argument("--mode", choices=("step", "end"),
                       help="of gta: step by step after the recorded steps, or end to end (default: end)")
    group.add_argument("--vision-server", metavar="MODEL@URL",
                       help="an OpenAI-compatible server (vLLM) for the tools that look at images, such as "
                       "Qwen/Qwen3-VL-8B-Instruct@http://localhost:8000/v1; its key is in OPENAI_API_KEY")
    group.add_argument("--toolbox", choices=("t3",),
                       help="of gta end to end: T3-Agent's tools instead of each query's own")
    group.add_argument("--similarity", metavar="MODEL",
                       help="of gta: folder or hub id of a sentence-transformers model with mean pooling, for its free "
                       "answers and images; GTA's own is sentence-transformers/all-mpnet-base-v2 (default: not scored)")


def refuse_elsewhere(args: argparse.Namespace) -> None:
    """Raises InputError for an option of gta and gaia beside another benchmark."""
    for option in ("mode", "vision_server", "similarity", "toolbox"):
        if getattr(args, option) is not None:
            name = option.replace("_", "-")
            raise InputError(f"--{name} belongs to {GTA} and {GAIA}: leave it out of {args.benchmark}")


def run(args: argparse.Namespace) -> int:
    """Runs the benchmark; the result goes to standard output, progress to standard error."""
    from training.benchmarks.tool_runs import RunSettings, figures_text

    for option in _NOT_HERE:
        if getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} is not of {args.benchmark}: leave it out")
    if args.level != "high" or args.seed:
        raise InputError(f"--level and --seed are not of {args.benchmark}: leave them out")
    if args.path is None:
        raise InputError(f"PATH is missing: tracer1 evaluate {args.benchmark} PATH, where PATH is your copy")
    if args.out is None:
        raise InputError("--out is missing: name a folder for the evaluation, such as --out runs/evaluations/sft")
    settings = RunSettings(
        data=args.path, planner=args.planner, out=args.out, num_queries=args.episodes, horizon=args.horizon,
        history_length=args.history, reactive=args.reactive, batch_size=args.batch_size or 4, max_steps=args.max_steps,
        vision_server=args.vision_server, toolbox=args.toolbox or "",
    )  # fmt: skip
    result = (_run_gta if args.benchmark == GTA else _run_gaia)(args, settings)
    if args.json:
        print(json.dumps(result))
        return 0
    print(f"{result['planner']} on {result['data']} ({result['protocol']}), {result['mode']}, T = {result['horizon']}")
    print(f"{result['num_queries']} queries, {_counts(result)}")
    print(figures_text(result["figures"]))
    if "submission" in result:
        print(f"leaderboard file: {result['submission']}")
    return 0


def _run_gta(args: argparse.Namespace, settings: Any) -> dict[str, Any]:
    from training.benchmarks.gta_run import evaluate_end, evaluate_steps

    if args.split is not None:
        raise InputError("--split is not of gta: it has one set of queries")
    is_end = args.mode != "step"
    if not is_end:
        for option in ("vision_server", "max_steps", "toolbox"):
            if getattr(args, option) is not None:
                raise InputError(f"--{option.replace('_', '-')} is of the mode end: step by step no tool runs")
    similarity = None
    if args.similarity is not None:
        from training.benchmarks.similarity import load_similarity

        similarity = load_similarity(args.similarity)
    if is_end:
        return evaluate_end(settings, similarity=similarity, on_line=_tell)
    return evaluate_steps(settings, similarity=similarity, on_progress=_tell_progress)


def _run_gaia(args: argparse.Namespace, settings: Any) -> dict[str, Any]:
    from training.benchmarks.gaia_run import evaluate

    for option in ("mode", "similarity", "toolbox"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option} is not of gaia: leave it out")
    return evaluate(settings, args.split or "validation", on_line=_tell)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell_progress(progress: Any) -> None:
    _tell(f"{progress.phase} {progress.num_done}/{progress.num_total}")


def _counts(result: dict[str, Any]) -> str:
    parts = [f"{result[name]} {words}" for name, words in (
        ("num_failed", "failed"), ("num_without_answer", "without an answer"), ("num_errors", "errors"),
        ("num_hidden", "with hidden answers"), ("num_unscored", "answers not scored for want of --similarity"),
    ) if name in result]  # fmt: skip
    if result["skipped"]:
        parts.append(f"{len(result['skipped'])} left out, not in the published form")
    failures = result.get("tool_failures")
    return ", ".join([*parts, *(f"{count} calls {kind}" for kind, count in (failures or {}).items())])
