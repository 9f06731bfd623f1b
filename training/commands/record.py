"""`tracer1 record miniwob --tasks NAMES --out FILE`: an oracle's successful episodes become a trajectory file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from training.commands.episode import whole_number

HELP = "record reference trajectories that oracles make in a browser"
FIRST_SEED = 1000
"""Away from 0, where `tracer1 evaluate` begins, so that no evaluated episode is trained on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("world", choices=("miniwob",), metavar="WORLD", help="miniwob: MiniWoB++'s small web tasks")
    parser.add_argument("--tasks", required=True, metavar="NAMES",
                        help="names separated by commas, or all that have an oracle")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="trajectory file to write (JSON Lines); screenshots go to a folder beside it")
    parser.add_argument("--episodes", type=whole_number(1), default=20, metavar="N",
                        help="episodes of each task (default: %(default)s)")
    parser.add_argument("--seed", type=whole_number(0), default=FIRST_SEED,
                        help="seed of the first (default: %(default)s, since `tracer1 evaluate` begins at 0)")
    parser.add_argument("--split", default="train", help="split that the trajectories are marked with "
                        "(default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Records, and tells what was kept; 0 when anything was, 2 when nothing was."""
    from executors.trajectory import write_trajectories
    from training.benchmarks.miniwob import choose_tasks, record_trajectories

    tasks = choose_tasks(args.tasks, with_oracle=True)
    found = record_trajectories(
        tasks, args.episodes, args.seed, args.split,
        on_progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    count = write_trajectories(args.out, found)
    print(f"wrote {count} of {len(tasks) * args.episodes} episodes to {args.out}")
    return 0 if count else 2
