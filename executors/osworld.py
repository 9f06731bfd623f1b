"""A virtual machine of OSWorld as an executor: one `DesktopEnv` of the package desktop-env, which sets a task up, acts
and judges.

What is handled here because it fails silently there (desktop-env 1.0.2):

1. `step` drops what the machine said about a command: an action that changed no pixel is told as such. Screenshots
   show the pointer, so one that moves it has always an effect.
2. A screenshot that could not be made is None: here it is an error.
3. `reset` goes on after a setup that failed five times: here it is an error.
4. FAIL earns the point of every task that cannot be done: it is sent for `call_user` alone, never for our own failures.

Upstream waits a minute after a reset, since the programs of a task are still starting, and 20 seconds before it judges.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

from executors.actions import Action, Space
from executors.device import WAIT_SECONDS, DeviceExecutor
from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize
from executors.pyautogui_code import to_command
from executors.trajectory import Observation

INSTALL = "pip install -e '.[osworld]' && pip install --no-deps desktop-env==1.0.2"


class OSWorldExecutor(DeviceExecutor):
    """One machine that does one task after another; see the module.

    `command` is what was last sent to it, `score` its judgement 0..1 once `is_success` was asked; both are read-only.
    There is no element tree, so a tool agent that sees, or a planner that writes points, is needed.
    """

    name = "OSWorld machine"
    is_real = False  # what it does stays in a virtual machine that is set back
    close_seconds = 120.0

    def __init__(
        self,
        open_env: Callable[[], Any],
        task: Mapping[str, Any],
        *,
        pause_seconds: float = 2.0,
        reset_wait_seconds: float = 60.0,
        judge_wait_seconds: float = 20.0,
        time_limit_seconds: float = 900.0,
        **options: Any,
    ) -> None:
        """Nothing is opened yet.

        Args:
            open_env: makes the DesktopEnv, with action space "pyautogui"; called once.
            task: in OSWorld's JSON form.
            pause_seconds: pause between an action and the look at what came of it, OSWorld's `sleep_after_execution`.
            reset_wait_seconds: pause between setting a task up and the first look.
            judge_wait_seconds: pause before the judgement.
            time_limit_seconds: longest wait for one part: a start, a reset, an action, a judgement.
            options: see `DeviceExecutor`.
        """
        super().__init__(settle_seconds=pause_seconds, time_limit_seconds=time_limit_seconds, **options)
        self._open_env = open_env
        self._reset_wait_seconds, self._judge_wait_seconds = reset_wait_seconds, judge_wait_seconds
        self._env: Any = None
        self._shown: Mapping[str, Any] | None = None
        self._size = ImageSize(1, 1)
        self.choose(task)

    @property
    def spaces(self) -> frozenset[Space]:
        """Computer."""
        return frozenset({Space.COMPUTER})

    @property
    def is_open(self) -> bool:
        """Whether the machine was ever started."""
        return self._env is not None

    def choose(self, task: Mapping[str, Any]) -> None:
        """Sets the task of the next reset."""
        self.task = task
        self._goal = task["instruction"]
        self.command, self.score = "", None

    def reset(self) -> Observation:
        """Sets the machine back and the task up, waits and looks."""
        self.command, self.score = "", None
        self._call("reset", self._restart, extra_seconds=self._reset_wait_seconds)
        self._is_ended = False
        return self.observe()

    def is_success(self) -> bool:
        """OSWorld's judgement of the machine as it is now: whether the score is 1; `score` may lie between."""
        self.score = self._call("judge", self._judge, extra_seconds=self._judge_wait_seconds)
        return self.score >= 1.0

    def _open(self) -> None:
        self._env = self._open_env()

    def _restart(self) -> None:
        self._shown = None
        self._env.reset(task_config=dict(self.task))
        if self.task.get("config") and not getattr(self._env, "is_environment_used", True):
            raise ExecutorError("reset", f"OSWorld could not set task {self.task['id']} up")
        self._pause(self._reset_wait_seconds)

    def _see(self) -> Observation:
        seen, self._shown = self._shown or self._env._get_obs(), None
        observation = read_observation(seen)
        self._size = observation.image_size
        return observation

    def _act(self, action: Action) -> None:
        self.command = to_command(action, self._size)
        pause = self._settle_seconds
        if action.type == "wait":  # which OSWorld does twice
            pause = max(pause, WAIT_SECONDS if action.seconds is None else action.seconds) / 2
        self._shown = self._env.step(self.command, pause)[0]

    def _conclude(self, action: Action) -> None:
        self.command = to_command(action, self._size)
        self._shown = self._env.step(self.command, 0.0)[0]

    def _perform(self, action: Action) -> None:
        raise AssertionError("step() does it all, see _act")

    def _judge(self) -> float:
        self._pause(self._judge_wait_seconds)
        found = self._env.evaluate()
        score = float(found)
        if not (math.isfinite(score) and 0.0 <= score <= 1.0):
            raise ExecutorError("judge", f"OSWorld judged {found!r}, which is no score 0..1")
        return score

    def _release(self) -> None:
        if self._env is not None:
            self._env.close()


def read_observation(seen: Mapping[str, Any]) -> Observation:
    """The observation that OSWorld's dictionary holds: its screenshot, as RGB.

    Raises:
        ExecutorError: at "observe", when there is no screenshot or it is no picture.
    """
    import PIL.Image

    data = seen.get("screenshot")
    if not data:
        raise ExecutorError("observe", "OSWorld's machine sent no screenshot")
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            image = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, TypeError, PIL.Image.DecompressionBombError) as error:
        raise ExecutorError("observe", f"OSWorld's machine sent no readable screenshot ({error})") from None
    return Observation(image=image, image_size=ImageSize(*image.size))


def desktop_env_opener(
    provider: str, *, path_to_vm: str | None = None, screen: ImageSize | None = None, is_headless: bool = True,
) -> Callable[[], Any]:  # fmt: skip
    """What makes a DesktopEnv of a provider ("docker", "vmware", "aws" ...); making one starts a virtual machine.

    Args:
        provider: OSWorld's name of what runs the machine.
        path_to_vm: the machine's file or id, where the provider does not find its own.
        screen: size of its screen; None takes 1920x1080.
        is_headless: show no window of it.

    Raises:
        InputError: the package desktop-env, or one that it imports, is not installed.
    """
    try:
        from desktop_env.desktop_env import DesktopEnv
    except ImportError as error:
        raise InputError(f"OSWorld's package desktop-env cannot be imported ({error}): {INSTALL}") from None
    size = screen or ImageSize(1920, 1080)

    def open_env() -> Any:
        return DesktopEnv(
            provider_name=provider, path_to_vm=path_to_vm, action_space="pyautogui", headless=is_headless,
            screen_size=(size.width_px, size.height_px), require_a11y_tree=False, os_type="Ubuntu",
        )  # fmt: skip

    return open_env
