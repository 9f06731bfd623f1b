"""`tracer1 record miniwob|tools --out FILE`: oracles' successful episodes become a trajectory file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from executors.errors import InputError
from training.commands.episode import whole_number

HELP = "record reference trajectories that oracles make in a browser or with tools"
FIRST_SEED = 1000
"""Away from 0, where `tracer1 evaluate` begins, so that no evaluated episode is trained on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("world", choices=("miniwob", "tools"), metavar="WORLD",
                        help="miniwob: MiniWoB++'s small web tasks; tools: the embedded tool tasks")
    parser.add_argument("--tasks", metavar="NAMES",
                        help="of miniwob (needed): names separated by commas, or all that have an oracle")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="trajectory file to write (JSON Lines); screenshots go to a folder beside it")
    parser.add_argument("--episodes", type=whole_number(1), metavar="N",
                        help="episodes (default: 20 of each miniwob task, 200 of all tool tasks together)")
    parser.add_argument("--seed", type=whole_number(0), default=FIRST_SEED,
                        help="seed of the first (default: %(default)s, since `tracer1 evaluate` begins at 0)")
    parser.add_argument("--split", default="train", help="split that the trajectories are marked with, and that tool "
                        "tasks are drawn from (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Records, and tells what was kept; 0 when anything was, 2 when nothing was."""
    from executors.trajectory import write_trajectories

    def show(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if args.world == "tools":
        from executors.tool_tasks import usable_templates
        from training.benchmarks.tools import record_trajectories

        if args.tasks is not None:
            raise InputError("--tasks belongs to miniwob: tool tasks are drawn from --split")
        for name, reason in usable_templates(args.split)[1].items():
            show(f"{name} is left out: {reason}")
        num_episodes = args.episodes or 200
        found = record_trajectories(args.split, num_episodes, args.seed, on_progress=show)
    else:
        from training.benchmarks.miniwob import choose_tasks, record_trajectories

        if args.tasks is None:
            raise InputError("--tasks is missing: name MiniWoB++ tasks, such as --tasks click-test, or all")
        tasks = choose_tasks(args.tasks, with_oracle=True)
        num_episodes = len(tasks) * (args.episodes or 20)
        found = record_trajectories(tasks, args.episodes or 20, args.seed, args.split, on_progress=show)
    count = write_trajectories(args.out, found)
    print(f"wrote {count} of {num_episodes} episodes to {args.out}")
    return 0 if count else 2
