"""`tracer1 claims`: the paper's ablations, trained in the Train tab's queue; the same command again goes on."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.errors import InputError, OutputError
from executors.files import check_writable
from training.commands.episode import DEFAULT_PLANNER, whole_number

HELP = "train and evaluate the paper's ablations, and say which of its claims are seen"
_WAIT_SECONDS = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("world", choices=("simulator", "miniwob"), metavar="WORLD", help="simulator or miniwob")
    parser.add_argument("--planner", default=str(DEFAULT_PLANNER), metavar="FOLDER",
                        help="checkpoint that all variants start from: the SFT planner (default: the tiny planner)")
    parser.add_argument("--seeds", default="0,1,2", help="training seeds, joined by commas (default: %(default)s)")
    parser.add_argument("--steps", type=whole_number(1), default=80, metavar="N",
                        help="optimiser steps of each stage (default: %(default)s)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="another setting of preset tiny's stages, the same in all runs")
    parser.add_argument("--data", default="", metavar="FILE",
                        help="trajectory file to train on; needed for miniwob (`tracer1 record miniwob`)")
    parser.add_argument("--split", default="test", help="of the simulator's tasks (default: %(default)s)")
    parser.add_argument("--tasks", default="", metavar="NAMES", help="of miniwob: names separated by commas")
    parser.add_argument("--episodes", type=whole_number(1), default=49, metavar="N",
                        help="tasks of each seed; of miniwob for each task (default: %(default)s)")
    parser.add_argument("--variants", metavar="NAMES",
                        help="only these, joined by semicolons (default: all); --list names them")
    parser.add_argument("--list", action="store_true", help="list the variants and leave")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu or gpu0, gpu1 ... (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="folder of runs with the queue (default: %(default)s); an open workbench shows them")
    parser.add_argument("--out", type=Path, default=Path("runs/claims"), metavar="DIR",
                        help="folder of the results (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Queues, waits, evaluates and writes claims.md, .html and .png; 0 when no variant is missing, else 2."""
    from training.benchmarks.claims import VARIANTS, append_outcome, read_outcomes

    if args.list:
        print("\n".join(VARIANTS))
        return 0
    study = _Study.of(args)
    results = args.out / "outcomes.jsonl"
    check_writable(results)
    outcomes = read_outcomes(results)
    done = {(outcome.variant, outcome.seed) for outcome in outcomes}
    todo = [(seed, name) for seed in study.seeds for name in study.variants if (name, seed) not in done]
    missing: list[str] = []
    desk = _open_desk(args.runs)
    try:
        for seed, name in todo:
            study.queue(desk, VARIANTS[name], seed)
        desk.watch()
        for seed, name in todo:
            checkpoint = study.checkpoint(desk, VARIANTS[name], seed)
            if checkpoint is None:
                missing.append(f"{name}, seed {seed}")
                continue
            print(f"evaluating {name}, seed {seed}", file=sys.stderr, flush=True)
            outcomes.append(study.evaluate(VARIANTS[name], checkpoint, seed))
            append_outcome(results, outcomes[-1])
            _report(args, outcomes)
    finally:
        desk.close()
    print(_report(args, outcomes))
    if missing:
        print(f"tracer1: not trained: {'; '.join(missing)}: look at their logs in {args.runs}", file=sys.stderr)
    return 2 if missing else 0


def _open_desk(runs: Path):
    from workbench.runs.desk import RunDesk

    return RunDesk(runs, runs / "queue.sqlite")


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What the options ask for, checked."""

    world: str
    planner: str
    seeds: Sequence[int]
    variants: Sequence[str]
    changes: Mapping[str, Any]
    device: str
    split: str
    tasks: Sequence[str]
    num_episodes: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> _Study:
        from training.benchmarks.claims import VARIANTS
        from training.checkpoint import check_checkpoint
        from training.config_reading import parse_overrides
        from workbench.runs.gpus import read_gpus

        check_checkpoint(args.planner)
        tasks: tuple[str, ...] = ()
        if args.world == "miniwob":
            from training.benchmarks.miniwob import choose_tasks

            tasks = choose_tasks(args.tasks)
            if not args.data:
                raise InputError("--data is missing: record a file with `tracer1 record miniwob`")
        else:
            from executors.simulator import list_tasks

            list_tasks(args.split)  # raises where there is no such split
        devices = ("cpu", *(gpu.device for gpu in read_gpus()))
        if args.device not in devices:  # its runs would wait for ever
            raise InputError(f"--device {args.device!r} is not of this machine: choose one of {', '.join(devices)}")
        names = [name.strip() for name in args.variants.split(";")] if args.variants else list(VARIANTS)
        unknown = next((name for name in names if name not in VARIANTS), None)
        if unknown is not None:
            raise InputError(f"--variants {unknown!r} is unknown: `tracer1 claims {args.world} --list` names them")
        seeds = [text.strip() for text in args.seeds.split(",")]
        if not all(text.isdecimal() for text in seeds):
            raise InputError(f"--seeds {args.seeds!r} is not a list of whole numbers: write for example 0,1,2")
        changes = {"optim.num_steps": args.steps, "data.path": args.data, **parse_overrides(args.overrides)}
        return cls(
            world=args.world, planner=args.planner, seeds=[int(text) for text in seeds], variants=names,
            changes=changes, device=args.device, split=args.split, tasks=tasks, num_episodes=args.episodes,
        )

    def queue(self, desk, variant, seed: int) -> str:
        """The run of a variant, put into the queue where it was not yet; "" for a variant that is not trained."""
        from training.benchmarks.claims import VARIANTS
        from training.config_reading import to_dict, with_changes
        from training.presets import get_preset

        if not variant.stage:
            return ""
        name = variant.run_name(self.world, seed)
        if name in {row.id for row in desk.list()}:
            if "resume" in desk.row(name).actions:
                desk.resume(name)
            return name
        after = self.queue(desk, VARIANTS[variant.after], seed) if variant.after else ""
        preset = get_preset("tiny", seed)
        model = str(desk.root / after / "final") if after else self.planner
        changes = {"model": model, **self.changes, **variant.changes}
        values = with_changes(to_dict(getattr(preset, variant.stage)), changes)
        desk.launch(desk.draft(variant.stage, values, name=name, devices=(self.device,), preset="tiny", after=after))
        return name

    def checkpoint(self, desk, variant, seed: int) -> str | None:
        """The variant's checkpoint, waited for; None where its run, or the one before it, ended without one."""
        from training.benchmarks.claims import VARIANTS
        from workbench.runs.observe import ENDED

        if not variant.stage:
            return self.planner
        if variant.after and self.checkpoint(desk, VARIANTS[variant.after], seed) is None:
            return None
        name = variant.run_name(self.world, seed)
        while True:
            row = desk.row(name)
            if row.state == "finished":
                return str(desk.root / name / "final")
            if row.state in ENDED or row.state == "cancelled":
                return None
            time.sleep(_WAIT_SECONDS)

    def evaluate(self, variant, checkpoint: str, seed: int):
        """The variant's episodes on the tasks of this seed."""
        from training.benchmarks.claims import AskedFor, Outcome
        from training.planner import load_planner

        planner = load_planner(checkpoint)
        if variant.horizon is not None:
            planner = AskedFor(planner, variant.horizon)
        keys, records = self._episodes(planner, seed)
        success = {key: record.success is True for key, record in zip(keys, records, strict=True)}
        mean_steps = sum(len(record.steps) for record in records) / len(records)
        return Outcome(variant=variant.name, seed=seed, success=success, mean_steps=round(mean_steps, 3),
                       num_errors=sum(record.num_errors for record in records))

    def _episodes(self, planner, seed: int) -> tuple[list[str], list[Any]]:
        if self.world == "simulator":
            from executors.simulator import sample_tasks
            from training.benchmarks.simulator import run_tasks

            tasks = sample_tasks(self.split, self.num_episodes, seed)
            return [f"{task.id}-{i}" for i, task in enumerate(tasks)], run_tasks(planner, tasks)
        from training.benchmarks.miniwob import run_jobs

        first = seed * self.num_episodes
        jobs = [(task, first + i) for task in self.tasks for i in range(self.num_episodes)]
        return [f"{task}-{number}" for task, number in jobs], run_jobs(planner, jobs)


def _report(args: argparse.Namespace, outcomes: Sequence[Any]) -> str:
    from training.benchmarks.claims import WORTHWHILE, figure, markdown

    where = f"{args.episodes} tasks of split {args.split}"
    if args.world == "miniwob":
        where = f"{args.episodes} episodes of each of {args.tasks}"
    seeds = ", ".join(map(str, sorted({outcome.seed for outcome in outcomes})))
    about = [
        f"World: {args.world}. Start planner: {args.planner}. {args.steps} optimiser steps of each stage, "
        f"seeds {seeds}; for each seed {where}. A claim is seen when the whole 95 % interval lies above 0, not seen "
        f"when it lies below {100 * WORTHWHILE:.0f} points, else not decidable with so few episodes."
    ]
    text = markdown(outcomes, about)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "claims.md").write_text(text, encoding="utf-8")
        plot = figure(outcomes)
        (args.out / "claims.html").write_text(plot.to_html(include_plotlyjs=True), encoding="utf-8")
        try:
            plot.write_image(args.out / "claims.png", scale=2)
        except (ValueError, RuntimeError) as error:  # kaleido or its browser is missing
            print(f"tracer1: no claims.png: {str(error).splitlines()[0]}", file=sys.stderr)
    except OSError as error:
        raise OutputError(f"cannot write {args.out} ({error.strerror}): choose a folder you may write") from None
    return text
