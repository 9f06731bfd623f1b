"""The worlds that `tracer1 episode` acts in, opened from its options: the simulator, MiniWoB++, tools, a
desktop, a phone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError, MissingFileError
from executors.executor import Executor
from executors.safety import GuardedExecutor
from executors.simulator import SimulatorExecutor, Task, make_task, sample_tasks

if TYPE_CHECKING:
    from executors.tool_tasks import ToolTask
    from training.planner import Planner


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A device and what is said about it.

    `goal` is a person's own, None for the device's. `should_stop()` is true once a person or a limit has ended acting.
    `oracle()` makes the planner that does what is right, None where nobody knows it.
    """

    executor: Executor
    about: str
    goal: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    should_stop: Callable[[], bool] = lambda: False
    oracle: Callable[[], Planner] | None = None


def open_world(args: argparse.Namespace) -> World:
    """The world that the options of `tracer1 episode` ask for; a real one is armed.

    Raises:
        InputError: an option is missing, not of this world or wrong, or the world is not available here.
        OutputError: the audit log cannot be written.
    """
    for option, worlds in _OPTIONS.items():
        if getattr(args, option) is not None and args.env not in worlds:
            raise InputError(f"--{option.replace('_', '-')} is not of {args.env} but of {', '.join(worlds)}")
    if args.goal is not None and not args.goal.strip():
        raise InputError("--goal is empty: say what is to be done")
    return _WORLDS[args.env](args)


_OPTIONS = {
    "split": ("simulator", "tools"), "task": ("simulator", "miniwob", "tools"), "serial": ("android",),
    "guard": ("desktop", "android"), "tool_agent": ("miniwob", "desktop", "android"), "file": ("tools",),
}  # fmt: skip


def choose_task(name: str | None, split: str, seed: int) -> Task:
    """The task of a template and seed, or one that the seed draws from the split.

    Raises:
        InputError: an unknown split or template.
    """
    return make_task(name, split, seed) if name else sample_tasks(split, 1, seed)[0]


def _simulator(args: argparse.Namespace) -> World:
    task = choose_task(args.task, args.split or "test", args.seed)
    meta = {"template": task.template.name, "level": task.level, "task_seed": task.seed, "split": task.split}
    about = f"{task.id}, {task.form}, level {task.level}"
    return World(executor=SimulatorExecutor(task), about=about, goal=args.goal, meta=meta)


def _miniwob(args: argparse.Namespace) -> World:
    from executors.miniwob import MiniWobExecutor

    if args.task is None:
        raise InputError("--task is missing: name a MiniWoB++ task, such as --task click-test")
    return World(
        executor=MiniWobExecutor(args.task, args.seed), about=f"MiniWoB++ {args.task}, seed {args.seed}",
        meta={"env": "miniwob", "task": args.task, "seed": args.seed},
    )  # fmt: skip


def _tools(args: argparse.Namespace) -> World:
    from executors import tool_tasks
    from executors.tool_world import ToolExecutor

    if args.goal is not None:
        files = {Path(name).name: Path(name) for name in args.file or ()}
        if missing := next((path for path in files.values() if not path.is_file()), None):
            raise MissingFileError(f"--file {missing} does not exist: name a file")
        if len(files) < len(args.file or ()):
            raise InputError("--file names two files of one name: copy one to another name first")
        world = ToolExecutor(args.goal, files, tools=tool_tasks.TOOLS)
        about = f"tools, {len(files)} file{'' if len(files) == 1 else 's'}"
        return World(executor=world, about=about, goal=args.goal, meta={"env": "tools", "tools": list(world.tools)})
    if args.file is not None:
        raise InputError("--file belongs to --goal: a task brings its own files")
    split = args.split or "test"
    task = tool_tasks.sample_tasks(split, 1, args.seed)[0] if args.task is None else tool_tasks.make_task(
        args.task, split, args.seed)
    if (missing := task.template.missing) is not None:
        raise InputError(f"tool task {task.template.name!r} cannot be run here: {missing}")
    return World(executor=task.open(), about=task.id, meta=task.meta, oracle=lambda: _oracle_of(task))


def _oracle_of(task: ToolTask) -> Planner:
    from training.benchmarks.tools import oracle_planner

    return oracle_planner(task)


def _desktop(args: argparse.Namespace) -> World:
    from executors.guarding import guard_desktop

    guard = _guarded(args, lambda *given: guard_desktop(args.goal or "", *given))
    return _real(guard, "this machine's desktop", {"env": "desktop"})


def _android(args: argparse.Namespace) -> World:
    from executors.android import ready_phones
    from executors.guarding import guard_android

    _permit(args)
    ready = ready_phones()
    serial = args.serial or (ready[0] if len(ready) == 1 else "")
    if serial not in ready and ":" not in serial:  # one at HOST:PORT is connected to
        named = f"phone {serial!r} is not ready" if serial else f"adb has {len(ready)} phones that are ready"
        raise InputError(f"{named}: name one by --serial ({', '.join(ready) or 'none is'} ready)")
    guard = _guarded(args, lambda *given: guard_android(serial, args.goal or "", *given))
    return _real(guard, f"Android phone {serial}", {"env": "android", "serial": serial})


def _real(guard: GuardedExecutor, about: str, meta: dict[str, Any]) -> World:
    return World(executor=guard, about=about, meta=meta, should_stop=lambda: guard.device.stop.is_tripped)


_WORLDS: dict[str, Callable[[argparse.Namespace], World]] = {
    "simulator": _simulator, "miniwob": _miniwob, "tools": _tools, "desktop": _desktop, "android": _android,
}  # fmt: skip
WORLDS = tuple(_WORLDS)


def _permit(args: argparse.Namespace) -> None:
    from executors.permission import allow_real_devices

    if not args.allow_real_devices:
        raise InputError(f"--env {args.env} acts on a real device: add --allow-real-devices to permit that")
    allow_real_devices()


def _guarded(args: argparse.Namespace, guard: Callable[..., GuardedExecutor]) -> GuardedExecutor:
    """A device that the flag arms; each step is decided at the terminal."""
    from training.terminal_approver import TerminalApprover

    _permit(args)
    folder = args.guard or Path("runs") / "guard"
    guarded = guard([TerminalApprover(sys.stdin, sys.stderr)], folder, args.max_steps)
    guarded.arm("who started the program with --allow-real-devices")
    guarded.kill_switch.take_signals()
    corner = ", the pointer in the top left corner" if args.env == "desktop" else ""
    print(f"Stop at once: Ctrl-C{corner}, or a file {folder / 'STOP'}", file=sys.stderr)
    return guarded
