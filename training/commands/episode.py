"""`tracer1 episode`: one task in a world, step by step on the terminal."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from executors.errors import InputError
from executors.files import check_writable

if TYPE_CHECKING:
    from training.episode_record import EpisodeRecord, StepRecord
    from training.episode_worlds import World
    from training.plan_act import Episode
    from training.planner import Planner

HELP = "run one task with a planner and show every forecast"
DEFAULT_PLANNER = Path(__file__).resolve().parent.parent.parent / "assets" / "tiny_planner"


def whole_number(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `least`."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,17}", text.strip()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return convert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--env", choices=("simulator", "miniwob", "tools", "desktop", "android"), default="simulator",
                        help="the world (default: %(default)s); a desktop or a phone needs --allow-real-devices")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--task", metavar="NAME",
                      help="task template of the simulator or of tools (default: one drawn by the seed), or the "
                      "MiniWoB++ task")
    what.add_argument("--goal", metavar="TEXT", help="a goal in your own words; nobody can judge its success")
    parser.add_argument("--file", action="append", metavar="FILE",
                        help="of tools: attach a file to --goal; again for several")
    parser.add_argument("--planner", default=str(DEFAULT_PLANNER), metavar="PLANNER",
                        help="checkpoint folder or hub id, openai:MODEL@URL or replay:FILE, of tools also oracle "
                        "(default: the tiny planner)")
    parser.add_argument("--tool-agent", metavar="NAME",
                        help="who grounds, such as ui-tars-1.5@URL (default: elements, the element tree)")
    parser.add_argument("--split", help="split of the task, of the simulator and of tools (default: test)")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of the task (default: %(default)s)")
    parser.add_argument("--max-steps", type=whole_number(1), default=30, metavar="N",
                        help="steps before giving up (default: %(default)s)")
    parser.add_argument("--reactive", action="store_true", help="ask for one step at a time")
    real = parser.add_argument_group("desktop and android")
    real.add_argument("--allow-real-devices", action="store_true",
                      help="permit acting on this machine's desktop or on a phone; each step is asked for")
    real.add_argument("--serial", help="the phone, as `adb devices` lists it, or HOST:PORT (default: the only one)")
    real.add_argument("--guard", type=Path, metavar="DIR",
                      help="folder of audit log and STOP file (default: runs/guard)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the episode with all its forecasts as JSON")


def run(args: argparse.Namespace) -> int:
    """Runs the episode; 0 when it ran, whether or not the goal was reached, 2 when errors ended it."""
    if args.out is not None:
        check_writable(args.out)
    from executors.tool_agents import get_tool_agent
    from training.episode_record import StopReason, save_episode
    from training.episode_worlds import open_world
    from training.plan_act import Episode

    world = open_world(args)
    device = world.executor
    try:
        planner, tool_agent = _planner(args.planner, world), get_tool_agent(args.tool_agent or "elements")
        episode = Episode(device, planner, tool_agent=tool_agent, goal=world.goal, max_steps=args.max_steps,
                          reactive=args.reactive, meta=world.meta)  # fmt: skip
    except BaseException:
        device.close()
        raise
    try:
        episode.start()
        print(f"Goal: {shorten(episode.goal, 300)}")
        print(f"      ({world.about}; planner {planner.name})")
        record = episode.run(
            should_stop=world.should_stop, on_forecast=_show_forecast, on_step=lambda _, step: _show_result(step)
        )
    except KeyboardInterrupt:
        episode.stop()
        record = episode.record()
    finally:
        device.close()
    if world.should_stop():
        record = replace(record, stop_reason=StopReason.STOPPED)
    print(ending(record))
    if args.out is not None:
        save_episode(args.out, record)
        print(f"kept in {args.out}", file=sys.stderr)
    if record.stop_reason is StopReason.EXECUTOR_ERROR:
        print(f"tracer1: the episode was ended by errors, the last: {record.errors[-1]}: mend it and run it again",
              file=sys.stderr)
        return 2
    return 0


def _planner(spec: str, world: World) -> Planner:
    from training.planner import load_planner

    if spec != "oracle":
        return load_planner(spec)
    if world.oracle is None:
        raise InputError("--planner oracle is of --env tools without --goal: name another planner")
    return world.oracle()


def _show_forecast(episode: Episode) -> None:
    from executors.actions import format_call

    forecast = episode.forecast
    print(f"\nStep {len(episode.steps) + 1}  [{episode.observation.summary}]")
    if forecast.thought:
        print(f"  thought  {shorten(forecast.thought)}")
    for number, step in enumerate(forecast.steps, start=1):
        mark = ">" if number == 1 else " "
        print(f"  {mark} {number}. {shorten(format_call(step.action))} | {shorten(step.instruction)}", flush=True)
    if not forecast.ok:
        print(f"  broken   {shorten(forecast.reason)}")


def _show_result(step: StepRecord) -> None:
    from executors.actions import format_call

    if step.error is not None:
        print(f"  error    {shorten(step.error, 200)}", flush=True)
        return
    said = f" ({step.message})" if step.message else ""
    print(f"  did      {shorten(format_call(step.action))}{said}", flush=True)


def shorten(text: str, limit: int = 100) -> str:
    """The text on one line, cut with an ellipsis; control characters become spaces.

    >>> shorten("one  two", 5)
    'one …'
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def ending(record: EpisodeRecord) -> str:
    """One line on how the episode ended."""
    judged = {True: "success", False: "no success", None: "success unknown"}[record.success]
    count = len(record.steps)
    errors = f", {record.num_errors} errors" if record.num_errors else ""
    return f"\nEnded: {record.stop_reason}, {judged}, {count} step{'' if count == 1 else 's'}{errors}"
