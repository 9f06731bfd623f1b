"""`tracer1 evaluate osworld` and `tracer1 evaluate android_world`: tasks in live worlds of other projects."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from executors.errors import InputError

OSWORLD = "osworld"
ANDROID_WORLD = "android_world"
ABOUT = {
    OSWORLD: "OSWorld, on-policy in its virtual machines; PATH is its test_all.json or a folder of tasks",
    ANDROID_WORLD: "AndroidWorld, on-policy on the phones of its --server containers",
}
_OWN = {
    OSWORLD: ("provider", "vm", "screen", "action_wait", "reset_wait", "judge_wait"),
    ANDROID_WORLD: ("server", "family", "budgets"),
}
"""Options of one of the two alone."""
WITH_PATH = (OSWORLD, "gta", "gaia")
"""Benchmarks that are given by a path."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options that no other benchmark has."""
    group = parser.add_argument_group(
        "osworld and android_world only",
        "They need --out, and a planner that writes points or a --tool-agent that sees, such as ui-tars-1.5@URL. "
        "--tasks names some of their tasks; --batch-size is the number of OSWorld's machines at once. The same command "
        "goes on where it was.",
    )
    group.add_argument("--retry-failed", action="store_true",
                       help="do tasks of --out again that errors ended in an earlier run; also of simulator, miniwob "
                       "and tools")
    group.add_argument("--provider", metavar="NAME", help="of osworld: docker (default), vmware, virtualbox, aws ...")
    group.add_argument("--vm", metavar="FILE", help="of osworld: the virtual machine, where the provider needs one")
    group.add_argument("--screen", metavar="WxH", help="of osworld: size of its screen (default: 1920x1080)")
    for name, default, what in (("action", 2, "an action"), ("reset", 60, "a reset"), ("judge", 20, "the judgement")):
        when = "before" if name == "judge" else "after"
        group.add_argument(f"--{name}-wait", type=_seconds, metavar="S",
                           help=f"of osworld: seconds to wait {when} {what} (default: {default}, as upstream)")
    group.add_argument("--server", action="append", metavar="URL",
                       help="of android_world: a server, such as http://localhost:5000; again for several phones")
    group.add_argument("--family", metavar="NAME", help="of android_world: family of tasks (default: android_world)")
    group.add_argument("--budgets", metavar="FILE",
                       help="of android_world: its task_metadata.json, for twice a person's steps (default: 30 steps)")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0..3600 seconds")
    return value


def check(args: argparse.Namespace) -> None:
    """Raises InputError when an option belongs to another benchmark than was named."""
    for benchmark, options in _OWN.items():
        for option in options:
            if args.benchmark != benchmark and getattr(args, option, None) is not None:
                raise InputError(f"--{option.replace('_', '-')} belongs to {benchmark}")
    if args.path is not None and args.benchmark not in WITH_PATH:
        raise InputError(f"PATH {str(args.path)!r} belongs to {', '.join(WITH_PATH)}: leave it out")
    for option in ("data", "references", "horizon", "history", "run"):
        if args.benchmark in _OWN and getattr(args, option) is not None:
            raise InputError(f"--{option} belongs to the offline benchmarks: leave it out")


def run_osworld(args: argparse.Namespace, tool_agent_name: str) -> int:
    """Runs OSWorld's tasks and prints the result."""
    from executors.chat_server import without_password
    from executors.geometry import ImageSize
    from executors.osworld import desktop_env_opener
    from executors.tool_agents import get_tool_agent
    from training.benchmarks.live_tasks import choose_named
    from training.benchmarks.osworld import MAX_STEPS, Waits, evaluate, read_tasks
    from training.planner import load_planner

    if args.path is None:
        raise InputError("PATH is missing: give OSWorld's test_all.json, or a folder of its tasks")
    if args.episodes is not None:
        raise InputError("--episodes is not of osworld: every task is done once; choose by --tasks DOMAIN/ID,...")
    path, out = Path(args.path), _out(args)
    tasks = read_tasks(path)  # what is wrong is told before a model is loaded
    chosen = choose_named(args.tasks, tasks, "OSWorld task")
    tool_agent = get_tool_agent(tool_agent_name)
    waits = {name: getattr(args, f"{name}_wait") for name in ("action", "reset", "judge")}
    open_env = desktop_env_opener(
        args.provider or "docker", path_to_vm=args.vm, screen=ImageSize.parse(args.screen) if args.screen else None
    )
    with contextlib.redirect_stdout(sys.stderr):  # some of OSWorld's getters print
        result = evaluate(
            load_planner(args.planner),
            {id: tasks[id] for id in chosen},
            open_env,
            out,
            data=path.name,
            tool_agent=tool_agent,
            tool_agent_name=tool_agent_name,
            planner_name=without_password(args.planner),
            reactive=args.reactive,
            max_steps=args.max_steps or MAX_STEPS,
            num_envs=args.batch_size or 1,
            waits=Waits(**{name: seconds for name, seconds in waits.items() if seconds is not None}),
            retries_failed=args.retry_failed,
            on_progress=_tell,
        )
    _print(result, "OSWorld", args.json)
    return 0


def run_android_world(args: argparse.Namespace, tool_agent_name: str) -> int:
    """Runs AndroidWorld's tasks and prints the result."""
    from executors.android_world_server import FAMILIES, AndroidWorldServer
    from executors.chat_server import without_password
    from executors.tool_agents import get_tool_agent
    from training.benchmarks.android_world import SEED, evaluate, make_tasks, read_budgets
    from training.planner import load_planner

    if not args.server:
        raise InputError("--server is missing: start AndroidWorld's container and give --server http://localhost:5000")
    if args.batch_size is not None:
        raise InputError("--batch-size is not of android_world: give --server once for each phone")
    family = args.family or "android_world"
    if family not in FAMILIES:
        raise InputError(f"--family {family!r}: choose one of {', '.join(FAMILIES)}")
    out, tool_agent = _out(args), get_tool_agent(tool_agent_name)
    budgets = read_budgets(Path(args.budgets)) if args.budgets else {}
    servers = [AndroidWorldServer(url) for url in dict.fromkeys(args.server)]
    seed = SEED if args.seed is None else args.seed
    tasks = make_tasks(servers, args.tasks, args.episodes or 1, seed, family, args.max_steps, budgets)
    result = evaluate(
        load_planner(args.planner),
        tasks,
        servers,
        out,
        data=family,
        seed=seed,
        tool_agent=tool_agent,
        tool_agent_name=tool_agent_name,
        planner_name=without_password(args.planner),
        reactive=args.reactive,
        retries_failed=args.retry_failed,
        on_progress=_tell,
    )
    _print(result, "AndroidWorld", args.json)
    return 0


RUN: dict[str, Callable[[argparse.Namespace, str], int]] = {OSWORLD: run_osworld, ANDROID_WORLD: run_android_world}


def _out(args: argparse.Namespace) -> Path:
    if args.split is not None:
        raise InputError(f"--split is not of {args.benchmark}: choose by --tasks")
    if args.out is None:
        raise InputError("--out is missing: name a folder for the evaluation, such as --out runs/evaluations/sft")
    return args.out


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(result: dict[str, Any], where: str, is_json: bool) -> None:
    if is_json:
        print(json.dumps(result))
        return
    low, high = result["ci95"]
    print(f"{result['planner']} on {where} ({result['data']}), {result['mode']}, with {result['tool_agent']}")
    print(f"success   {result['success_rate']:.1%} (95 % interval {low:.1%} to {high:.1%}) of {result['num_episodes']} "
          f"tasks, {result['num_errors']} errors, {result['num_failed_tasks']} tasks ended by them")
    print(f"steps     {result['mean_steps']:.1f} on average; {result['without_effect']} changed nothing on the screen")
    for name, part in result["by_group"].items():
        print(f"  {part['success_rate']:>6.1%} of {part['num_episodes']}  {name}")
    print(f"unreadable replies {result['parse_failure_rate']:.1%}")
    print("ended by  " + ", ".join(f"{name} {count}" for name, count in result["stop_reasons"].items()))
