"""`tracer1 evaluate`: the scores of a planner on a benchmark, as one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from executors.errors import InputError
from training.benchmarks.protocols import PROTOCOLS
from training.commands import evaluate_copies, evaluate_worlds
from training.commands.episode import DEFAULT_PLANNER, whole_number

HELP = "score a planner on a benchmark"
SIMULATOR = "simulator"
MINIWOB = "miniwob"
TOOLS = "tools"
ORACLE = "oracle"
PATH_MAY_FOLLOW_OPTIONS = True
"""argparse takes an optional positional right behind the benchmark alone, unless it is told so (training.cli)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join([
        "benchmarks:",
        f"  {SIMULATOR:<22}the embedded world, on-policy: the planner acts until the task ends",
        f"  {MINIWOB:<22}MiniWoB++, on-policy in a browser: small web tasks that their own pages judge",
        f"  {TOOLS:<22}embedded tool tasks: the planner calls tools that really run, and its answer is judged",
        *(f"  {name:<22}{title}" for name, title in evaluate_copies.TITLES.items()),
        *(f"  {name:<22}{about}" for name, about in evaluate_worlds.ABOUT.items()),
        *(f"  {protocol.name:<22}offline: {protocol.title}" for protocol in PROTOCOLS.values()),
    ])  # fmt: skip
    named = (SIMULATOR, MINIWOB, TOOLS, *evaluate_copies.TITLES, *evaluate_worlds.RUN, *PROTOCOLS)
    parser.add_argument("benchmark", choices=named, metavar="BENCHMARK", help="one of the benchmarks below")
    parser.add_argument("--planner", default=str(DEFAULT_PLANNER), metavar="PLANNER",
                        help="checkpoint folder or hub id, openai:MODEL@URL or replay:FILE (default: the tiny "
                        "planner); also oracle of tools, miniwob, gta and offline (the recorded steps), random offline")
    parser.add_argument("--split", help="split of the tasks (default: test; offline all of a file)")
    parser.add_argument("--episodes", type=whole_number(1), metavar="N",
                        help="number of tasks (default: 96; 20 of each miniwob task, offline all of a file)")
    parser.add_argument("--seed", type=whole_number(0), help="seed of the tasks (default: 0; 30 of android_world)")
    parser.add_argument("--max-steps", type=whole_number(1), default=None, metavar="N", help="steps before giving up")
    parser.add_argument("--reactive", action="store_true", help="ask for one step at a time")
    parser.add_argument("--batch-size", type=whole_number(1), metavar="B",
                        help="episodes or states at once (default: 16; 1 of miniwob, where each needs a browser)")
    parser.add_argument("--tasks", metavar="NAMES",
                        help="of miniwob: names separated by commas, or all (of oracle: all that it can do)")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON, offline one line each")
    evaluate_copies.add_arguments(parser)
    offline = parser.add_argument_group("offline benchmarks only")
    offline.add_argument("--data", metavar="FILE",
                         help="trajectory file (`tracer1 import`); default: the simulator's oracle episodes")
    offline.add_argument("--out", type=Path, metavar="DIR",
                         help="folder of the evaluation, which the Compare tab reads; what it holds already is not "
                         "asked again (needed but for simulator, miniwob and tools)")
    offline.add_argument("--tool-agent", action="append", metavar="NAME",
                         help="who grounds: elements (default), or oracle for the recorded points; again for several")
    offline.add_argument("--references", metavar="FILE",
                         help="the data set's own file, for what trajectories leave out (AgentNetBench's alternatives)")
    offline.add_argument("--level", choices=("high", "low"), default="high",
                         help="low also tells the recorded instruction of each step (default: %(default)s)")
    offline.add_argument("--horizon", type=whole_number(1), metavar="T",
                         help="steps to forecast (default: the planner's own)")
    offline.add_argument("--history", type=whole_number(0), metavar="K",
                         help="past steps that are told (default: the planner's own)")
    offline.add_argument("--run", type=Path, metavar="DIR",
                         help="also keep a run folder with heartbeat, log and state, as the workbench's queue asks for "
                         "(also of tools, and of simulator, then without forecast accuracy)")
    evaluate_worlds.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the benchmark; the result goes to standard output, progress to standard error."""
    evaluate_worlds.check(args)
    acted = (*evaluate_worlds.RUN, SIMULATOR, MINIWOB, TOOLS)
    if args.retry_failed and (args.benchmark not in acted or args.out is None or args.run is not None):
        raise InputError(f"--retry-failed belongs to --out of {', '.join(acted)}, and goes without --run")
    if args.benchmark in evaluate_copies.TITLES:
        return evaluate_copies.run(args)
    evaluate_copies.refuse_elsewhere(args)
    if args.benchmark in evaluate_worlds.RUN:
        return evaluate_worlds.RUN[args.benchmark](args, _one_agent(args.tool_agent))
    args.seed = args.seed or 0
    if args.benchmark in (SIMULATOR, MINIWOB, TOOLS):
        for option in ("data", "references", "horizon", "history", *(["run"] if args.benchmark == MINIWOB else [])):
            if getattr(args, option) is not None:
                raise InputError(f"--{option} belongs to the offline benchmarks: choose one of {', '.join(PROTOCOLS)}")
    if args.tasks is not None and args.benchmark != MINIWOB:
        raise InputError("--tasks belongs to miniwob: the simulator and tools draw their tasks from --split")
    run_one = {SIMULATOR: _run_simulator, MINIWOB: _run_miniwob, TOOLS: _run_tools}.get(args.benchmark, _run_offline)
    return run_one(args)


def _run_miniwob(args: argparse.Namespace) -> int:
    from executors.tool_agents import get_tool_agent
    from training.benchmarks.miniwob import MAX_STEPS, choose_tasks, evaluate
    from training.planner import load_planner

    if args.tasks is None:
        raise InputError("--tasks is missing: name MiniWoB++ tasks, such as --tasks click-test,login-user, or all")
    if args.split is not None:
        raise InputError("--split is not of miniwob: choose by --tasks and --seed")
    is_oracle = args.planner == ORACLE
    tasks = choose_tasks(args.tasks, with_oracle=is_oracle)  # what is wrong is told before a model is loaded
    tool_agent = get_tool_agent(_one_agent(args.tool_agent))
    result = evaluate(
        None if is_oracle else load_planner(args.planner),
        tasks,
        args.episodes or 20,
        args.seed,
        args.reactive,
        num_browsers=args.batch_size or 1,
        max_steps=args.max_steps or MAX_STEPS,
        tool_agent=tool_agent,
        out=args.out,
        retries_failed=args.retry_failed,
        on_progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    return _tell(args, result, miniwob_summary)


def _run_tools(args: argparse.Namespace) -> int:
    from executors.tool_tasks import usable_templates
    from training.benchmarks.tools import MAX_STEPS, evaluate
    from training.planner import load_planner

    _no_tool_agent(args)
    split = args.split or "test"
    usable_templates(split)  # a wrong split is told before a model is loaded
    if args.run is not None:
        return _run_watched(args, tools_summary)
    planner = None if args.planner == ORACLE else load_planner(args.planner)
    result = evaluate(planner, split, **_on_policy(args, MAX_STEPS))
    return _tell(args, result, tools_summary)


def _no_tool_agent(args: argparse.Namespace) -> None:
    if args.tool_agent is not None:
        raise InputError(f"--tool-agent belongs to miniwob and the offline benchmarks: choose one of "
                         f"{', '.join((MINIWOB, *PROTOCOLS))}")


def _one_agent(names: list[str] | None) -> str:
    if names is not None and len(names) > 1:
        raise InputError("--tool-agent is given twice: an episode has one tool agent")
    return names[0] if names else "elements"


def _run_simulator(args: argparse.Namespace) -> int:
    from executors.simulator import list_tasks
    from training.benchmarks.simulator import MAX_STEPS, evaluate
    from training.planner import load_planner

    _no_tool_agent(args)
    split = args.split or "test"
    list_tasks(split)  # a wrong split is told before a model is loaded
    if args.run is not None:
        return _run_watched(args, summary)
    result = evaluate(load_planner(args.planner), split, **_on_policy(args, MAX_STEPS))
    return _tell(args, result, summary)


def _tell(args: argparse.Namespace, result: dict, describe: Callable[[dict], str]) -> int:
    """Prints the result; 2 where errors ended every episode."""
    print(json.dumps(result, ensure_ascii=False) if args.json else describe(result))
    if result["stop_reasons"].get("executor_error") == result["num_episodes"]:
        print("tracer1: errors ended every episode, so nothing was measured: check that the planner's server and the "
              "device answer, then run it again", file=sys.stderr)
        return 2
    return 0


def _run_watched(args: argparse.Namespace, describe: Callable[[dict], str]) -> int:
    """The simulator or the tool tasks with a run folder, as the workbench's queue has it."""
    from training.benchmarks.on_policy import OnPolicySettings
    from training.benchmarks.watched import evaluate_watched

    if args.out is None or args.max_steps is not None:
        raise InputError("--run needs --out, the folder of the evaluation, and takes no --max-steps")
    settings = OnPolicySettings(
        benchmark=args.benchmark, planner=args.planner, out=args.out, split=args.split or "test",
        num_episodes=args.episodes or 96, seed=args.seed, reactive=args.reactive, batch_size=args.batch_size or 16,
    )  # fmt: skip
    for result in _told(evaluate_watched(settings, args.run, ["tracer1", *sys.argv[1:]])):
        print(json.dumps(result, ensure_ascii=False) if args.json else describe(result))
    return 0


def _told(summaries: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    if summaries is None:
        print("stopped as asked: the same command goes on where it was", file=sys.stderr)
    return summaries or []


def _on_policy(args: argparse.Namespace, max_steps: int) -> dict[str, Any]:
    """What the simulator and the tool tasks are asked with."""
    return {
        "num_episodes": args.episodes or 96, "seed": args.seed, "reactive": args.reactive,
        "batch_size": args.batch_size or 16, "max_steps": args.max_steps or max_steps, "out": args.out,
        "retries_failed": args.retry_failed,
        "on_progress": lambda line: print(line, file=sys.stderr, flush=True),
    }  # fmt: skip


def _run_offline(args: argparse.Namespace) -> int:
    if args.out is None:
        raise InputError("--out is missing: name a folder for the evaluation, such as --out runs/evaluations/sft")
    if args.max_steps is not None:
        raise InputError("--max-steps belongs to the simulator: offline every recorded state is asked")
    from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
    from training.benchmarks.published import published_table
    from training.benchmarks.reports import summary_text

    settings = OfflineSettings(
        protocol=args.benchmark,
        data=args.data or SIMULATOR,
        planner=args.planner,
        out=args.out,
        tool_agents=tuple(dict.fromkeys(args.tool_agent or ("elements",))),
        references=args.references,
        split=args.split,
        num_episodes=args.episodes,
        seed=args.seed,
        level=args.level,
        reactive=args.reactive,
        horizon=args.horizon,
        history_length=args.history,
        batch_size=args.batch_size or 16,
    )
    if args.run is not None:
        from training.benchmarks.watched import evaluate_watched

        summaries = evaluate_watched(settings, args.run, ["tracer1", *sys.argv[1:]])
    else:
        with _ProgressBar() as bar:
            summaries = evaluate_offline(settings, on_progress=bar.show)
    summaries = _told(summaries)
    for result in summaries:
        if args.json:
            print(json.dumps(result))
            continue
        print(f"{result['planner']} {result['benchmark']}, {result['mode']}, T = {result['horizon']}")
        if result["num_without_screenshot"]:
            print(f"{result['num_without_screenshot']} of {result['num_steps']} states have no screenshot: "
                  "the planner saw none there")
        print(summary_text(result), end="\n\n")
    published = published_table(args.benchmark, summaries[0]["datasets"]) if summaries else ""
    if published and not args.json:
        print(published)
    return 0


class _ProgressBar:
    """A bar on standard error for each pass, with rate and time left."""

    def __enter__(self) -> _ProgressBar:
        self._bar, self._phase = None, ""
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress) -> None:
        """Takes `training.benchmarks.offline.Progress`."""
        from tqdm import tqdm

        if progress.phase != self._phase:
            if self._bar is not None:
                self._bar.close()
            self._phase = progress.phase
            self._bar = tqdm(
                total=progress.num_total, initial=progress.num_done, desc=progress.phase, unit="state", file=sys.stderr
            )
        self._bar.update(progress.num_done - self._bar.n)


def _success_lines(result: dict, where: str) -> list[str]:
    low, high = result["ci95"]
    return [
        f"{result['planner']} on {where}, {result['mode']}, seed {result['seed']}",
        f"success   {result['success_rate']:.1%} (95 % interval {low:.1%} to {high:.1%}) "
        f"of {result['num_episodes']} episodes, {result['num_errors']} errors",
        f"steps     {result['mean_steps']:.1f} on average",
    ]


def miniwob_summary(result: dict) -> str:
    """The result in a few lines for a person."""
    lines = _success_lines(result, f"MiniWoB++ {result['miniwob_version']}")
    lines += [
        f"  {part['success_rate']:>6.1%} of {part['num_episodes']}  {task}" for task, part in result["by_task"].items()
    ]
    lines.append(f"unreadable replies {result['parse_failure_rate']:.1%}")
    lines.append("ended by  " + ", ".join(f"{name} {count}" for name, count in result["stop_reasons"].items()))
    lines.append(f"judged by the pages: success is a {result['success_rule']}; time limit {result['time_limit']}")
    return "\n".join(lines)


def tools_summary(result: dict) -> str:
    """The result in a few lines for a person."""
    lines = _success_lines(result, f"tools/{result['split']}")
    lines += [
        f"  {part['success_rate']:>6.1%} of {part['num_episodes']}  {name}"
        for name, part in result["by_template"].items()
    ]
    lines += [f"  left out       {name}: {reason}" for name, reason in result["left_out"].items()]
    lines.append(f"tools     {result['tool_calls']} calls, {result['tool_errors']} failed")
    lines.append(f"unreadable replies {result['parse_failure_rate']:.1%}")
    lines.append("ended by  " + ", ".join(f"{name} {count}" for name, count in result["stop_reasons"].items()))
    return "\n".join(lines)


def summary(result: dict) -> str:
    """The result in a few lines for a person."""
    lines = _success_lines(result, f"simulator/{result['split']}")
    lines += [
        f"level {level}   {part['success_rate']:.1%} of {part['num_episodes']}"
        for level, part in result["by_level"].items()
    ]
    ahead = "  ".join(f"{t}: {part['accuracy']:.1%}" for t, part in result.get("forecast_accuracy", {}).items())
    lines.append(f"forecast  {ahead or 'not measured'}")
    lines.append(f"unreadable replies {result['parse_failure_rate']:.1%}")
    lines.append("ended by  " + ", ".join(f"{name} {count}" for name, count in result["stop_reasons"].items()))
    return "\n".join(lines)
