"""`tracer1 export`: a stage's data, reward and settings for EasyR1 or verl."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.config import STAGES
from training.config_reading import load_config
from training.export_rl import FRAMEWORKS

HELP = "write a stage's data, reward and settings for EasyR1 or verl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("framework", choices=FRAMEWORKS, help="who will train")
    parser.add_argument("stage", choices=("stage1", "stage2"), help="what will be trained")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of the stage's settings")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="change one setting, such as data.path=FILE; may be given again")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")


def run(args: argparse.Namespace) -> int:
    """Exports, and prints what each file holds."""
    from training.export_rl import export_stage

    config = load_config(STAGES[args.stage], args.config, args.overrides)
    for name, part in export_stage(args.framework, args.stage, config, args.out).items():
        print(f"{args.out / name}.parquet: {part.num_rows} prompts")
        if part.num_left_out:
            print(f"  {part.num_left_out} samples without a screenshot or a recorded point are left out")
    print(f"{args.out / 'reward.py'}, {args.out / ('config.yaml' if args.framework == 'easyr1' else 'overrides.txt')}")
    return 0
