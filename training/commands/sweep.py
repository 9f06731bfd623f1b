"""`tracer1 sweep`: an ablation in one command: every combination trained where needed and evaluated.

A sweep that was stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from executors.errors import InputError, OutputError
from training.benchmarks.protocols import PROTOCOLS
from training.commands.episode import DEFAULT_PLANNER, whole_number
from training.config import STAGES
from training.config_reading import load_config

HELP = "evaluate every combination of settings, with training where needed; a table and a figure"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("protocol", choices=sorted(PROTOCOLS), metavar="PROTOCOL", help="see `tracer1 evaluate --help`")
    parser.add_argument("--planner", action="append", metavar="[NAME=]PLANNER",
                        help="a planner, again for each (stages next to each other); default: the tiny planner")
    parser.add_argument("--vary", action="append", default=[], metavar="KEY=VALUE,VALUE",
                        help="horizon or history (T, K when asked), or a setting of the stage that is trained, such as "
                        "reward.gamma or reward.lambda_rep; again for each")
    parser.add_argument("--train", choices=sorted(STAGES), metavar="STAGE",
                        help="train this stage from each planner for every combination; the planner as it is is a row")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of the stage's settings")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of the stage that stays the same in all runs")
    parser.add_argument("--data", default="simulator", metavar="FILE", help="as for `tracer1 evaluate`")
    parser.add_argument("--split", help="as for `tracer1 evaluate`")
    parser.add_argument("--episodes", type=whole_number(1), metavar="N", help="as for `tracer1 evaluate`")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of the simulator's tasks")
    parser.add_argument("--tool-agent", default="elements", metavar="NAME", help="who grounds (default: %(default)s)")
    parser.add_argument("--batch-size", type=whole_number(1), default=16, metavar="B", help="states at once")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the sweep")


def run(args: argparse.Namespace) -> int:
    """Runs what is missing, prints the table and writes sweep.md, sweep.csv and sweep.html."""
    from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
    from training.benchmarks.sweep import Axis, points, run_sweep, sweep_csv, sweep_figure, sweep_markdown

    if (args.config or args.overrides) and args.train is None:
        raise InputError("--config and --set belong to a stage's training: name the stage with --train")
    planners = dict(_named(text) for text in args.planner or [str(DEFAULT_PLANNER)])
    axes = [Axis.parse(text) for text in args.vary]
    sweep = points(list(planners), axes, is_trained=args.train is not None)
    for point in sweep:  # a wrong setting is told before hours of training
        if point.trained is not None:
            _config(args, point, planners[point.planner])
    settings = OfflineSettings(
        protocol=args.protocol, data=args.data, planner="", out=args.out, tool_agents=(args.tool_agent,),
        split=args.split, num_episodes=args.episodes, seed=args.seed, batch_size=args.batch_size,
    )  # fmt: skip

    def train(point, folder: Path) -> str:
        return _train(args, point, planners[point.planner], folder)

    def evaluate(own) -> None:
        print(f"evaluating {own.out.name}", file=sys.stderr, flush=True)
        evaluate_offline(own)

    rows = run_sweep(sweep, planners, settings, train, evaluate)
    text = sweep_markdown(rows)
    _write(args.out / "sweep.md", text + "\n")
    _write(args.out / "sweep.csv", sweep_csv(rows))
    _write(args.out / "sweep.html", sweep_figure(rows).to_html(include_plotlyjs=True))
    print(text)
    return 0


def _named(text: str) -> tuple[str, str]:
    """(name, specification); a checkpoint folder without a name is called by its last part."""
    name, sep, spec = text.partition("=")
    return (name.strip(), spec.strip()) if sep and "/" not in name else (Path(text).name or text, text)


def _config(args: argparse.Namespace, point, planner: str):
    varied = [f"{key}={value}" for key, value in point.trained.items()]
    return load_config(STAGES[args.train], args.config, [*args.overrides, f"model={planner}", *varied])


def _train(args: argparse.Namespace, point, planner: str, folder: Path) -> str:
    from training import pipeline

    command = ["tracer1", *sys.argv[1:]]
    if (folder / "run.json").is_file():
        status = pipeline.resume_stage(folder, command, stage=args.train)
    else:
        status = pipeline.start_stage(args.train, _config(args, point, planner), folder, command)
    if status.state != "finished":
        raise InputError(f"run {folder} {status.state} ({status.reason}): give the same command again to go on")
    return str(folder / "final")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a folder you may write") from None
