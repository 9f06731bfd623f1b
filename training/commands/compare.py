"""`tracer1 compare`: several planners on the same tasks, as a table; what is already in the file is not run again.

`compare simulator` runs what is missing; `compare evaluations` tests stored offline evaluations against each other.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from executors.errors import InputError, OutputError
from training.commands.episode import whole_number

HELP = "score several planners on the same tasks and print a table"
MODES = ("anticipatory", "reactive")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("benchmark", choices=("simulator", "evaluations"),
                        help="run planners on the simulator, or compare folders of `tracer1 evaluate`")
    parser.add_argument("folders", nargs="*", metavar="NAME=DIR",
                        help="evaluations: two or more folders, each with a name for the report if you like")
    parser.add_argument("--planner", action="append", default=[], metavar="NAME=PLANNER",
                        help="a planner and its name in the table, again for each; see `tracer1 evaluate`")
    parser.add_argument("--splits", default="test", help="splits, joined by commas (default: %(default)s)")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the tasks, joined by commas (default: %(default)s)")
    parser.add_argument("--modes", default="anticipatory,reactive",
                        help="anticipatory, reactive or both, joined by commas (default: %(default)s)")
    parser.add_argument("--episodes", type=whole_number(1), default=96, metavar="N",
                        help="tasks for each planner, split, mode and seed (default: %(default)s)")
    parser.add_argument("--batch-size", type=whole_number(1), default=32, metavar="B",
                        help="episodes at once (default: %(default)s)")
    parser.add_argument("--without-forecast-accuracy", action="store_true",
                        help="leave out the second measurement, accuracy by lookahead, which costs as much again")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="simulator: JSON Lines file of the records (needed); what it holds is not run again")
    stored = parser.add_argument_group("evaluations only")
    stored.add_argument("--protocol", action="append", metavar="NAME", help="only results of these protocols")
    stored.add_argument("--tool-agent", action="append", metavar="NAME", help="only results of these tool agents")
    stored.add_argument("--allow-different-prompts", action="store_true",
                        help="compare although prompts differ, such as those of two horizons; the report says so")
    stored.add_argument("--report", type=Path, action="append", default=[], metavar="FILE",
                        help="also write the report: .md, .csv or .html; again for several")
    stored.add_argument("--flips", action="store_true", help="also list the samples that only one got right")


def run(args: argparse.Namespace) -> int:
    """Prints the tables; see the two halves."""
    return _compare_stored(args) if args.benchmark == "evaluations" else _run_simulator(args)


def _compare_stored(args: argparse.Namespace) -> int:
    from training.benchmarks.comparison import compare, flips
    from training.benchmarks.evaluation import load_folder
    from training.benchmarks.reports import to_csv, to_html, to_markdown

    writers = {".md": to_markdown, ".csv": to_csv, ".html": to_html}
    for path in args.report:
        if path.suffix not in writers:
            raise InputError(f"--report {path} ends in {path.suffix!r}: choose .md, .csv or .html")
    evaluations = []
    for text in args.folders:
        name, sep, folder = text.partition("=")
        for found in load_folder(Path(folder if sep else text), name if sep else ""):
            is_wanted = not args.protocol or found.protocol in args.protocol
            if is_wanted and (not args.tool_agent or found.tool_agent in args.tool_agent):
                evaluations.append(found)
    comparison = compare(evaluations, allow_different_prompts=args.allow_different_prompts)
    for path in args.report:  # before printing: the reader of a pipe may go away
        _write(path, writers[path.suffix](comparison))
    print(to_markdown(comparison))
    if args.flips:
        for place, a in enumerate(evaluations):
            for b in evaluations[place + 1 :]:
                if a.benchmark == b.benchmark:
                    for flip in flips(a, b):
                        print(f"{a.benchmark}: {flip.id}: only {flip.right}")
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a file you may write") from None


def _run_simulator(args: argparse.Namespace) -> int:
    if args.out is None:
        raise InputError("--out is missing: name the file that the results are kept in")
    if args.folders:
        raise InputError(f"{args.folders[0]!r} is no option of compare simulator: planners are --planner NAME=PLANNER")
    from executors.simulator import list_tasks
    from training.benchmarks.simulator import evaluate
    from training.benchmarks.tables import forecast_table, read_records, success_table
    from training.planner import load_planner

    planners = [_named(text) for text in args.planner]
    splits, modes = args.splits.split(","), args.modes.split(",")
    seeds = [_seed(text) for text in args.seeds.split(",")]
    for split in splits:
        list_tasks(split)
    for mode in modes:
        if mode not in MODES:
            raise InputError(f"--modes {mode!r} is not a mode: choose from {', '.join(MODES)}")
    records = read_records(args.out)
    done = {(r["name"], r["split"], r["mode"], r["seed"], r["num_episodes"]) for r in records}
    for name, spec in planners:
        todo = [
            key
            for split in splits
            for mode in modes
            for seed in seeds
            if (key := (name, split, mode, seed, args.episodes)) not in done
        ]
        planner = load_planner(spec) if todo else None
        for _, split, mode, seed, num_episodes in todo:
            result = evaluate(
                planner, split, num_episodes, seed, mode == "reactive", batch_size=args.batch_size,
                with_forecast_accuracy=mode == "anticipatory" and not args.without_forecast_accuracy,
            )
            records.append({"name": name, **result})
            _append(args.out, records[-1])
            share = f"{result['success_rate']:.1%} of {num_episodes}, {result['seconds']:.0f} s"
            print(f"{name} {split} {mode} seed {seed}: {share}", file=sys.stderr, flush=True)
    print(success_table(records), forecast_table(records), sep="\n\n")
    return 0


def _named(text: str) -> tuple[str, str]:
    name, sep, spec = text.partition("=")
    if not (sep and name.strip() and spec.strip()):
        raise InputError(f"--planner {text!r} is not NAME=PLANNER: write for example sft=runs/1_sft/final")
    return name.strip(), spec.strip()


def _seed(text: str) -> int:
    if not text.strip().isdecimal():
        raise InputError(f"--seeds {text!r} is not a whole number: write for example --seeds 0,1,2")
    return int(text)


def _append(path: Path, record: dict) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a file you may write") from None
