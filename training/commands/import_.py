"""`tracer1 import NAME PATH --out FILE`: a public data set becomes a trajectory file with its screenshots."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from executors.errors import InputError
from training.datasets.registry import IMPORTERS

HELP = "bring a public data set into the trajectory format"

MAX_WORKERS = 8
"""Most worker processes without --workers; beyond, the disk is the limit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tracer1 import`."""
    width = max(map(len, IMPORTERS)) + 2
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(
        ["data sets, and what PATH is:", *(f"  {name:<{width}}{entry.help}" for name, entry in IMPORTERS.items()), "",
         "An import that was stopped goes on when the same command is given again."]
    )
    parser.add_argument("dataset", metavar="NAME", choices=list(IMPORTERS), help="the data set, see below")
    parser.add_argument("path", type=Path, metavar="PATH", help="the data set's file or folder, see below")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="trajectory file to write (JSON Lines); screenshots go to a folder beside it")
    parser.add_argument("--images", type=Path, metavar="DIR",
                        help="folder of the screenshots (default: a known folder name beside the file)")
    parser.add_argument("--split", metavar="SPLIT", help="keep only this split (default: all)")
    parser.add_argument("--crop", metavar="RULE", help="mind2web: what is kept of a full-page screenshot")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N trajectories were kept")
    parser.add_argument("--workers", type=int, metavar="N",
                        help=f"processes that convert (default: the CPUs of this process, at most {MAX_WORKERS})")


def run(args: argparse.Namespace) -> int:
    """Imports, prints the report and writes it beside the output; 0 when anything was kept, 2 when nothing was."""
    for option, value in (("--limit", args.limit), ("--workers", args.workers)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value} is not allowed: give a whole number of at least 1")
    if args.out.resolve() == args.path.resolve():
        raise InputError(f"--out {args.out} is the file to import: name another one")
    from training.datasets.base import ImportOptions
    from training.datasets.engine import run_import

    def tell(message: str) -> None:
        print(f"tracer1: {message}", file=sys.stderr)

    try:
        report = run_import(
            args.dataset,
            ImportOptions(path=args.path, images=args.images, split=args.split, crop=args.crop),
            args.out,
            num_workers=args.workers or min(MAX_WORKERS, len(os.sched_getaffinity(0))),
            limit=args.limit,
            tell=tell,
        )
    except KeyboardInterrupt:
        tell("stopped; the same command goes on from here")
        raise
    report_path = args.out.with_name(args.out.name + ".report.json")
    report.save(report_path)
    print(report.summary())
    if not report.num_trajectories:
        print(f"tracer1: nothing was kept of {args.path}: see the problems in {report_path}", file=sys.stderr)
        return 2
    print(f"wrote {args.out} and {report_path}")
    return 0
