"""`tracer1 evaluate`: the scores of a planner on a benchmark, as one JSON object."""

from __future__ import annotations

import argparse
import json
import sys

from training.commands.episode import DEFAULT_PLANNER, whole_number

HELP = "score a planner on a benchmark"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("benchmark", choices=("simulator",), help="the benchmark")
    parser.add_argument("--planner", default=str(DEFAULT_PLANNER), metavar="PLANNER",
                        help="checkpoint folder or hub id, openai:MODEL@URL or replay:FILE (default: the tiny planner)")
    parser.add_argument("--split", default="test", help="split of the tasks (default: %(default)s)")
    parser.add_argument("--episodes", type=whole_number(1), default=96, metavar="N",
                        help="number of tasks (default: %(default)s)")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of the tasks (default: %(default)s)")
    parser.add_argument("--max-steps", type=whole_number(1), default=None, metavar="N", help="steps before giving up")
    parser.add_argument("--reactive", action="store_true", help="ask for one step at a time")
    parser.add_argument("--batch-size", type=whole_number(1), default=16, metavar="B",
                        help="episodes at once (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")


def run(args: argparse.Namespace) -> int:
    """Runs the benchmark; the result goes to standard output, progress to standard error."""
    from executors.simulator import list_tasks
    from training.benchmarks.simulator import MAX_STEPS, evaluate
    from training.planner import load_planner

    list_tasks(args.split)  # a wrong split is told before a model is loaded
    result = evaluate(
        load_planner(args.planner),
        args.split,
        args.episodes,
        args.seed,
        args.reactive,
        batch_size=args.batch_size,
        max_steps=args.max_steps or MAX_STEPS,
        on_progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(json.dumps(result, ensure_ascii=False) if args.json else summary(result))
    return 0


def summary(result: dict) -> str:
    """The result in a few lines for a person."""
    low, high = result["ci95"]
    lines = [
        f"{result['planner']} on simulator/{result['split']}, {result['mode']}, seed {result['seed']}",
        f"success   {result['success_rate']:.1%} (95 % interval {low:.1%} to {high:.1%}) "
        f"of {result['num_episodes']} episodes, {result['num_errors']} errors",
        f"steps     {result['mean_steps']:.1f} on average",
    ]
    lines += [
        f"level {level}   {part['success_rate']:.1%} of {part['num_episodes']}"
        for level, part in result["by_level"].items()
    ]
    ahead = "  ".join(f"{t}: {part['accuracy']:.1%}" for t, part in result.get("forecast_accuracy", {}).items())
    lines.append(f"forecast  {ahead or 'not measured'}")
    lines.append(f"unreadable replies {result['parse_failure_rate']:.1%}")
    lines.append("ended by  " + ", ".join(f"{name} {count}" for name, count in result["stop_reasons"].items()))
    return "\n".join(lines)
