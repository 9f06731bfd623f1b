"""`tracer1 import DATASET PATH --out FILE`: a public data set becomes a trajectory file with its screenshots."""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
from pathlib import Path

from executors.errors import InputError
from executors.trajectory import write_trajectories
from training.datasets.report import ImportReport

HELP = "bring a public data set into the trajectory format"

IMPORTERS: dict[str, str] = {"agentnet": "training.datasets.agentnet"}
"""Name of the data set -> module with `import_file(path, report, images=..., limit=...)`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tracer1 import`."""
    parser.add_argument("dataset", choices=sorted(IMPORTERS), help="which data set the file belongs to")
    parser.add_argument("path", type=Path, metavar="PATH", help="the data set's file, or a folder that holds it")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="trajectory file to write (JSON Lines); screenshots go to a folder beside it")
    parser.add_argument("--images", type=Path, metavar="DIR",
                        help="folder of the screenshots (default: a known folder name beside the file)")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N trajectories were kept")


def run(args: argparse.Namespace) -> int:
    """Imports, prints the report and writes it beside the output; 0 when anything was kept, 2 when nothing was."""
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit {args.limit} is not allowed: give a whole number of at least 1")
    if args.out.resolve() == args.path.resolve():
        raise InputError(f"--out {args.out} is the file to import: name another one")
    importer = importlib.import_module(IMPORTERS[args.dataset])
    report = ImportReport(dataset=args.dataset, path=str(args.path))
    trajectories = importer.import_file(args.path, report, images=args.images, limit=args.limit)
    first = next(trajectories, None)
    if first is not None:  # else an earlier output is left as it is
        write_trajectories(args.out, itertools.chain([first], trajectories))
    report_path = args.out.with_name(args.out.name + ".report.json")
    report.save(report_path)
    print(report.summary())
    if first is None:
        print(f"tracer1: nothing was kept of {args.path}: see the problems in {report_path}", file=sys.stderr)
        return 2
    print(f"wrote {args.out} and {report_path}")
    return 0
