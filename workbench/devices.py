"""What an episode can act on: the simulator, a recorded trajectory, MiniWoB++, tools, this machine's desktop,
a phone.

A new kind of device is one function here that makes a `Device` of a setup, its name in `OPENERS`, `LABELS` and
`REFERENCE_NAMES`, and its line in `device_choice` where something may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from executors import tool_tasks
from executors.android import list_phones, ready_phones
from executors.desktop import DesktopExecutor
from executors.errors import ExecutorError, InputError
from executors.executor import Executor
from executors.guarding import guard_android, guard_desktop
from executors.miniwob import ORACLES, MiniWobExecutor, oracle_move, put_in_words, task_names
from executors.replay import ReplayExecutor
from executors.simulator import SPLITS, SimulatorExecutor, list_tasks, make_task
from executors.simulator.continuation import oracle_continuation
from executors.trajectory import Observation, Step
from workbench.episode_store import EpisodeSetup
from workbench.real_devices import Guarding, watched_by_pages
from workbench.recordings import read_trajectory, resolve_file

REAL = frozenset({"desktop", "android"})
"""Executors that act on something real."""

MAX_SEED = 999_999
MAX_STEPS = 200
MAX_HORIZON = 32
MAX_HISTORY = 64
MAX_GOAL_CHARS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as an episode uses it.

    `reference(n)` gives the next n right steps from the present state, empty where nobody knows them. `is_over()` is
    true when the device can take no more actions. `is_heavy` says that it holds a program of its own, so few are kept.
    """

    executor: Executor
    platform: str
    reference: Callable[[int], tuple[Step, ...]]
    is_over: Callable[[], bool]
    is_heavy: bool = False
    guarding: Guarding | None = None
    """What stands between the episode and a real device; None for one that can do no harm."""

    @property
    def stopped_by(self) -> str:
        """Who or what ended acting on a real device; empty while nothing has."""
        return self.guarding.guard.device.stop.reason if self.guarding is not None else ""


def check_setup(setup: EpisodeSetup) -> EpisodeSetup:
    """The setup, when every number in it is allowed; raises InputError naming the field."""
    for name, value, least, most in (
        ("seed", setup.seed, 0, MAX_SEED),
        ("max_steps", setup.max_steps, 1, MAX_STEPS),
        ("horizon", setup.horizon, 1, MAX_HORIZON),
        ("history_length", setup.history_length, 0, MAX_HISTORY),
    ):
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (is_whole and least <= value <= most):
            raise InputError(f"field {name!r}: {value} is not allowed: give a whole number {least}..{most}")
    if len(setup.goal) > MAX_GOAL_CHARS:
        raise InputError(f"field 'goal': {len(setup.goal)} characters are too many: give at most {MAX_GOAL_CHARS}")
    return setup


def open_device(setup: EpisodeSetup, data_root: Path, guard_root: Path) -> Device:
    """The device of a setup; a real one is not armed yet.

    Args:
        setup: what is asked for.
        data_root: folder of the recorded trajectories.
        guard_root: folder of a real device's audit log and STOP file.

    Raises:
        InputError: there is no such task, file or trajectory, or a number is not allowed.
        MissingFileError: the trajectory file is gone.
    """
    return OPENERS[check_setup(setup).executor](setup, data_root, guard_root)


def _open_simulator(setup: EpisodeSetup, data_root: Path, guard_root: Path) -> Device:
    task = make_task(setup.task, setup.split, setup.seed)
    executor = SimulatorExecutor(task)
    is_own_goal = not setup.goal or setup.goal == task.goal
    return Device(
        executor=executor,
        platform=task.form,
        reference=(lambda count: oracle_continuation(executor, count)) if is_own_goal else _no_reference,
        is_over=lambda: executor.is_done,
    )


def _open_replay(setup: EpisodeSetup, data_root: Path, guard_root: Path) -> Device:
    trajectory = read_trajectory(resolve_file(data_root, setup.task), setup.position)
    executor = ReplayExecutor(trajectory)
    is_own_goal = not setup.goal or setup.goal == trajectory.goal

    def reference(count: int) -> tuple[Step, ...]:
        if not is_own_goal or executor.is_done:
            return ()
        rest = trajectory.steps[executor.num_passed : executor.num_passed + count]
        return tuple(replace(step, observation=Observation()) for step in rest)

    return Device(
        executor=executor,
        platform=trajectory.platform,
        reference=reference,
        is_over=lambda: executor.is_done,
    )


def _open_miniwob(setup: EpisodeSetup, data_root: Path, guard_root: Path) -> Device:
    executor = MiniWobExecutor(setup.task, setup.seed)

    def reference(count: int) -> tuple[Step, ...]:
        is_own_goal = not setup.goal or setup.goal == executor.goal
        if not is_own_goal or setup.task not in ORACLES or executor.is_done:
            return ()
        try:
            move, seen = oracle_move(setup.task, executor.tree()), executor.observe()
        except ExecutorError:  # the page has gone; the next action tells
            return ()
        return (Step(observation=Observation(), action=move.action, instruction=put_in_words(move, seen)),)

    return Device(
        executor=executor, platform="browser", reference=reference, is_over=lambda: executor.is_done, is_heavy=True
    )


def _open_tools(setup: EpisodeSetup, data_root: Path, guard_root: Path) -> Device:
    task = tool_tasks.make_task(setup.task, setup.split, setup.seed)
    if task.template.missing is not None:
        raise InputError(f"tool task {setup.task!r} cannot be run here: {task.template.missing}")
    executor = task.open()

    def reference(count: int) -> tuple[Step, ...]:
        if setup.goal and setup.goal != task.goal or executor.is_done:
            return ()
        try:
            moves = tool_tasks.next_moves(task, executor.calls, count)
        except ExecutorError:  # what the tools gave here is not what the task needs
            return ()
        return tuple(Step(observation=Observation(), action=m.action, instruction=m.instruction) for m in moves)

    return Device(
        executor=executor, platform="tools", reference=reference, is_over=lambda: executor.is_done, is_heavy=True
    )


def _open_desktop(setup: EpisodeSetup, data_root: Path, guard_root: Path) -> Device:
    guarding = watched_by_pages(lambda who: guard_desktop(setup.goal, who, guard_root, setup.max_steps))
    return _real(guarding, "desktop")


def _open_android(setup: EpisodeSetup, data_root: Path, guard_root: Path) -> Device:
    ready = ready_phones()
    if setup.task not in ready:
        raise InputError(f"phone {setup.task!r} is not ready: choose one of {', '.join(ready) or 'none'}")
    guarding = watched_by_pages(lambda who: guard_android(setup.task, setup.goal, who, guard_root, setup.max_steps))
    return _real(guarding, "phone")


def _real(guarding: Guarding, platform: str) -> Device:
    guard = guarding.guard
    return Device(
        executor=guard, platform=platform, reference=_no_reference, is_heavy=True, guarding=guarding,
        is_over=lambda: guard.is_done or guard.device.stop.is_tripped,
    )


def _no_reference(count: int) -> tuple[Step, ...]:
    return ()


OPENERS: dict[str, Callable[[EpisodeSetup, Path, Path], Device]] = {
    "simulator": _open_simulator, "replay": _open_replay, "miniwob": _open_miniwob, "tools": _open_tools,
    "desktop": _open_desktop, "android": _open_android,
}  # fmt: skip


REFERENCE_NAMES = {
    "simulator": "the simulator's oracle", "replay": "the recording", "miniwob": "the task's oracle",
    "tools": "the task's oracle", "desktop": "nobody", "android": "nobody",
}  # fmt: skip
"""Who says what the right next steps are."""


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A kind of device on offer; `reason` says why it cannot be used here, empty when it can."""

    name: str
    label: str
    reason: str = ""


LABELS = {
    "simulator": "Simulator", "replay": "Recording", "miniwob": "MiniWoB++", "tools": "Tool tasks",
    "desktop": "Desktop", "android": "Android",
}  # fmt: skip


def device_choices(*, is_space: bool) -> tuple[DeviceChoice, ...]:
    """All kinds of devices; see `device_choice`."""
    return tuple(device_choice(name, is_space=is_space) for name in LABELS)


def device_choice(name: str, *, is_space: bool) -> DeviceChoice:
    """A kind of device, with the reason where it is not available in this app now.

    Args:
        name: one of `LABELS`.
        is_space: on a hosted Space, whose visitors get no browser of their own each.
    """
    reason = ""
    if name == "miniwob":
        reason = _why_no_miniwob(is_space)
    elif name == "desktop":
        reason = _why_no_desktop()
    elif name == "android":
        reason = _why_no_android()
    return DeviceChoice(name, LABELS[name], reason)


def _why_no_android() -> str:
    try:
        phones = list_phones()
    except InputError as error:
        return str(error)
    if "device" in phones.values():
        return ""
    if not phones:
        return "adb knows no phone: connect one and allow debugging on it, then load this page again"
    listed = ", ".join(f"{serial} is {state}" for serial, state in phones.items())
    return f"no phone is ready ({listed}): allow debugging on it, then load this page again"


def _why_no_desktop() -> str:
    try:
        DesktopExecutor()  # opens nothing
    except InputError as error:
        return str(error)
    return ""


def _why_no_miniwob(is_space: bool) -> str:
    if is_space:
        return "each episode needs a browser of its own: run the workbench on your own machine"
    try:
        MiniWobExecutor(miniwob_tasks()[0][1])  # opens nothing
    except InputError as error:
        return str(error)
    return ""


def setup_words(setup: EpisodeSetup, platform: str) -> str:
    """What an episode acts on, in one line.

    >>> setup_words(EpisodeSetup(task="alarm_on", split="layout_unseen", seed=3), "phone")
    'Simulator · alarm on · phone · layout unseen · seed 3'
    """
    if setup.executor == "simulator":
        parts = ("Simulator", task_label(setup.task), platform, setup.split.replace("_", " "), f"seed {setup.seed}")
    elif setup.executor == "miniwob":
        parts = ("MiniWoB++", setup.task, f"seed {setup.seed}")
    elif setup.executor == "tools":
        parts = ("Tools", task_label(setup.task), setup.split.replace("_", " "), f"seed {setup.seed}")
    elif setup.executor == "desktop":
        parts = ("Desktop of this machine", f"grounded by {setup.tool_agent}")
    elif setup.executor == "android":
        parts = ("Android", setup.task, f"grounded by {setup.tool_agent}")
    else:
        parts = ("Recorded trajectory", f"{setup.task} no. {setup.position + 1}", platform)
    return " · ".join(part for part in parts if part)


def splits(executor: str = "simulator") -> tuple[str, ...]:
    """The splits of the simulator, or of the tool tasks."""
    return tool_tasks.SPLITS if executor == "tools" else SPLITS


def task_label(name: str) -> str:
    """A template's name in words.

    >>> task_label("alarm_on")
    'alarm on'
    """
    return name.replace("_", " ")


def templates(split: str) -> list[tuple[str, str]]:
    """(label, name) of a split's tasks, easiest first; raises InputError when there is no such split."""
    listed = sorted(list_tasks(split), key=lambda t: t.level)
    return [(f"{task_label(t.name)} · level {t.level}", t.name) for t in listed]


def tool_templates(split: str) -> list[tuple[str, str]]:
    """(label, name) of a split's tool tasks that can be run here, those with the fewest steps first.

    Raises:
        InputError: there is no such split, or none of its tasks can be run here.
    """
    listed = sorted(tool_tasks.usable_templates(split)[0], key=lambda template: template.num_calls)
    return [(f"{task_label(t.name)} · {t.num_calls + 1} steps", t.name) for t in listed]


def miniwob_tasks() -> list[tuple[str, str]]:
    """(label, name) of the MiniWoB++ tasks, those with an oracle first; raises InputError without the package."""
    names = sorted(task_names(), key=lambda name: (name not in ORACLES, name))
    return [(name if name in ORACLES else f"{name} · no reference", name) for name in names]
