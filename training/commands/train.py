"""`tracer1 train`: one stage, or the pipeline of all three.

A run is stopped after its present step by Ctrl-C, or by a file `stop` in its folder, and goes on with --resume.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from executors.errors import InputError
from training.config import STAGES
from training.config_reading import load_config
from training.presets import PRESETS

HELP = "train a planner: SFT warm start, Stage 1, Stage 2, or all three as a pipeline"

_STAGE_HELP = {
    "sft": "imitate recorded thoughts and forecasts",
    "stage1": "reward whole forecasts against recorded trajectories (GRPO)",
    "stage2": "reward the first step through a frozen tool agent (GRPO)",
}
_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand per stage, and `pipeline`."""
    stages = parser.add_subparsers(dest="stage", required=True, metavar="{sft,stage1,stage2,pipeline}")
    for name, text in _STAGE_HELP.items():
        stage = stages.add_parser(name, help=text, description=text)
        stage.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
        _add_set(stage, "change one setting, such as optim.num_steps=20; may be given again")
        stage.add_argument("--out", type=Path, metavar="FOLDER", help="run folder to make (runs/<stage>-<time>)")
        stage.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with this run under its own config")
    text = "run SFT, Stage 1 and Stage 2 one after another"
    pipeline = stages.add_parser("pipeline", help=text, description=text)
    pipeline.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)}")
    _add_set(pipeline, "change a setting of every stage (data.path=FILE) or of one (stage1.optim.num_steps=20)")
    pipeline.add_argument("--out", type=Path, metavar="FOLDER", help="folder to make (runs/pipeline-<time>)")
    pipeline.add_argument("--seed", type=int, metavar="N", help="seed of everything, 0 when not given")
    pipeline.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with this pipeline")


def _add_set(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help=text)


def run(args: argparse.Namespace) -> int:
    """Trains as asked; 0 when finished or stopped by file, 130 when interrupted.

    Raises:
        WorkbenchError: bad input, told in one sentence.
    """
    from training import pipeline

    command = ["tracer1", *sys.argv[1:]]
    out = args.out or Path("runs") / f"{args.stage}-{time.strftime('%Y%m%d-%H%M%S')}"
    if args.stage == "pipeline":
        if args.resume is not None:
            _refuse_beside_resume(args, ("preset", "overrides", "out", "seed"))
            status = pipeline.resume_pipeline(args.resume, command)
        elif args.preset is None:
            raise InputError(f"--preset is missing: give one of {', '.join(PRESETS)}, or --resume FOLDER")
        else:
            status = pipeline.start_pipeline(args.preset, args.seed or 0, out, command, args.overrides)
        result = (args.resume or out) / "planner"
    elif args.resume is not None:
        _refuse_beside_resume(args, ("config", "overrides", "out"))
        status = pipeline.resume_stage(args.resume, command, stage=args.stage)
        result = args.resume / "final"
    else:
        config = load_config(STAGES[args.stage], args.config, args.overrides)
        status = pipeline.start_stage(args.stage, config, out, command)
        result = out / "final"
    folder = args.resume or out
    if status.state == "finished":
        print(f"finished: {result}")
        return 0
    print(f"{status.state} ({status.reason}): go on with `tracer1 train {args.stage} --resume {folder}`")
    return _INTERRUPTED if "keyboard" in status.reason else 0


def _refuse_beside_resume(args: argparse.Namespace, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(args, name) not in (None, []):
            option = {"overrides": "--set"}.get(name, f"--{name}")
            raise InputError(f"{option} does not go with --resume: a resumed run keeps its own settings; leave it out")
