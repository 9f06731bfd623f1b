"""AndroidWorld's phone as an executor: over its HTTP server, or inside its own process.

What its actions really do, and what follows (google-research/android_world, actuation.py, commits 1903b2f to d9c569f):

1. `input_text` clicks first, types, and always presses Enter: one newline at the end of our text is left to it.
2. It types ASCII only: accents are stripped and all else is dropped, which is told; a text of which nothing is left is
   refused.
3. `scroll` names the content to reveal, as ours does, and moves over the whole screen: a point is left out, and told.
4. `swipe` runs from edge to edge: up and down are the finger's way, the inverse of `scroll`; left and right are the
   content's, like `scroll`. A drag along one axis over half the screen or more is sent as that; any other is refused.
5. `answer` is kept for the tasks that ask something; it does not end the episode. An episode that was never said to be
   done scores 0, whatever is on the screen (suite_utils.py): the server does not know that rule, so it is kept here.

The screen's pixels are those that actions count, also after a rotation.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from executors.actions import Action, Space
from executors.android_tree import role_of
from executors.device import DeviceExecutor
from executors.errors import ExecutorError
from executors.executor import ExecutionResult
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Element, Observation

LEAST_SWIPE = 0.5
"""Share of the screen that a drag must cover to be AndroidWorld's swipe (ours)."""


class Phone(Protocol):
    """Where a phone is: at a server (executors/android_world_server.py) or in this process (`PhoneInProcess`)."""

    def start(self) -> str:
        """Sets the task up and returns its goal."""
        ...

    def look(self) -> Observation:
        """The screen once it is at rest."""
        ...

    def act(self, action: dict[str, Any]) -> None:
        """Carries out one action in AndroidWorld's JSON form."""
        ...

    def score(self) -> float | None:
        """How far the goal is reached, 0..1; None where somebody else judges."""
        ...


class AndroidWorldExecutor(DeviceExecutor):
    """A phone of AndroidWorld; see the module.

    `score` is 0..1 once `is_success` was asked, and read-only. `sent` are the actions of the last `execute`.
    """

    name = "AndroidWorld phone"
    is_real = False  # an emulator that every task sets back

    def __init__(self, phone: Phone, *, time_limit_seconds: float = 300.0, **options: Any) -> None:
        """Nothing is opened yet.

        Args:
            phone: where it is.
            time_limit_seconds: longest wait for one part: setting a task up, an action, a look, a judgement.
            options: see `DeviceExecutor`.
        """
        super().__init__(settle_seconds=0.0, time_limit_seconds=time_limit_seconds, **options)
        self.phone = phone
        self.score: float | None = None
        self.sent: list[dict[str, Any]] = []
        self._size = ImageSize(1, 1)

    @property
    def spaces(self) -> frozenset[Space]:
        """Mobile."""
        return frozenset({Space.MOBILE})

    def execute(self, action: Action) -> ExecutionResult:
        """As every device; the message also tells what AndroidWorld does otherwise than was asked."""
        self.sent = []
        result = super().execute(action)
        note = _note_on(action)
        if not note:
            return result
        return ExecutionResult(
            observation=result.observation, had_effect=result.had_effect, message=f"{result.message} {note}".strip()
        )

    def is_success(self) -> bool | None:
        """Whether the score is 1; it is 0 unless a terminal action came before. None where somebody else judges."""
        self.score = self._call("judge", self.phone.score) if self.is_done else 0.0
        return None if self.score is None else self.score >= 1.0

    def _open(self) -> None:
        return None

    def _restart(self) -> None:
        self.score = None
        self._goal = self.phone.start()

    def _see(self) -> Observation:
        seen = self.phone.look()
        self._size = seen.image_size
        return seen

    def _perform(self, action: Action) -> None:
        self._send(action)

    def _conclude(self, action: Action) -> None:
        self._send(action)

    def _send(self, action: Action) -> None:
        for record in to_json_actions(action, self._size):
            self.sent.append(record)
            self.phone.act(record)


def to_json_actions(action: Action, size: ImageSize) -> list[dict[str, Any]]:
    r"""AndroidWorld's actions that mean ours, in order; none for one that only ends the episode or waits.

    Args:
        action: a checked action of a phone, its points set.
        size: of the screenshot in pixels.

    Raises:
        ExecutorError: at "execute": AndroidWorld has no such action, or would type nothing of the text.

    >>> to_json_actions(Action(type="type", content="Ann\n", point=PointNorm(0.5, 0.5)), ImageSize(100, 200))
    [{'action_type': 'input_text', 'text': 'Ann', 'x': 50, 'y': 100}]
    >>> to_json_actions(Action(type="finished", content="3 kg"), ImageSize(100, 200))
    [{'action_type': 'answer', 'text': '3 kg'}]
    """
    match action.type:
        case "click" | "long_press":
            return [{"action_type": action.type, **_px(action.point, size)}]
        case "scroll":
            return [{"action_type": "scroll", "direction": action.direction}]
        case "drag":
            return [{"action_type": "swipe", "direction": _swipe(action.start_point, action.end_point)}]
        case "type":
            return _input_text(action, size)
        case "open_app":
            return [{"action_type": "open_app", "app_name": action.app_name}]
        case "press_home" | "press_back":
            return [{"action_type": f"navigate_{action.type.removeprefix('press_')}"}]
        case "finished":
            return [{"action_type": "answer", "text": action.content}] if action.content else []
        case "call_user" | "wait":
            return []
    raise ExecutorError("execute", f"AndroidWorld has no way to {action.type}")


def _px(point: PointNorm, size: ImageSize) -> dict[str, int]:
    x, y = point.to_px(size)
    return {"x": x, "y": y}


def _input_text(action: Action, size: ImageSize) -> list[dict[str, Any]]:
    text = action.content.replace("\r\n", "\n").removesuffix("\n")
    place = {} if action.point is None else _px(action.point, size)
    if not text:  # AndroidWorld does nothing at all without a text
        click = [{"action_type": "click", **place}] if place else []
        return click + ([{"action_type": "keyboard_enter"}] if action.content else [])
    if not typed_text(text).strip():
        raise ExecutorError("execute", f"AndroidWorld types ASCII only, which leaves nothing of {text[:60]!r}")
    return [{"action_type": "input_text", "text": text, **place}]


def typed_text(text: str) -> str:
    """What AndroidWorld types of a text.

    >>> typed_text("Café 你好!")
    'Cafe !'
    """
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _swipe(start: PointNorm, end: PointNorm) -> str:
    """AndroidWorld's name of the way a finger went."""
    across, down = end.x - start.x, end.y - start.y
    if abs(down) >= LEAST_SWIPE and abs(down) >= 2 * abs(across):
        return "down" if down > 0 else "up"
    if abs(across) >= LEAST_SWIPE and abs(across) >= 2 * abs(down):
        return "left" if across > 0 else "right"
    raise ExecutorError("execute", "AndroidWorld has no drag, only swipes from edge to edge along one axis")


def _note_on(action: Action) -> str:
    if action.type == "type" and typed_text(action.content) != action.content:
        return f"AndroidWorld typed {typed_text(action.content)[:60]!r}: it has ASCII only."
    if action.type == "type" and action.content and not action.content.endswith("\n"):
        return "AndroidWorld pressed Enter after the text."
    if action.type == "scroll" and action.point is not None:
        return "AndroidWorld scrolled the whole screen."
    return ""


def read_pixels(pixels: Any) -> Observation:
    """The observation of a screen given as numbers.

    Args:
        pixels: rows of [red, green, blue], each 0..255: nested lists or an array of shape (height, width, 3).

    Raises:
        ExecutorError: at "observe", when they have another shape or range.

    >>> read_pixels([[[255, 0, 0], [0, 0, 255]]]).image_size
    ImageSize(width_px=2, height_px=1)
    """
    import numpy as np
    import PIL.Image

    try:
        array = np.asarray(pixels)
    except ValueError:  # rows of different lengths
        array = np.empty(0)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape or array.dtype.kind not in "iu":
        raise ExecutorError("observe", f"AndroidWorld sent no screen: {array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() > 255:
        raise ExecutorError("observe", f"AndroidWorld sent colours {array.min()}..{array.max()}, not 0..255")
    image = PIL.Image.fromarray(array.astype(np.uint8))
    return Observation(image=image, image_size=ImageSize(*image.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneInProcess:
    """The `AsyncEnv` of an AndroidWorld runner that has set a task up and judges it itself.

    `get_state` is how its agents look after an action (`EnvironmentInteractingAgent.get_post_transition_state`).
    """

    env: Any
    goal: str
    get_state: Callable[[], Any]

    def start(self) -> str:
        """The goal; the runner has done the rest."""
        return self.goal

    def look(self) -> Observation:
        """The screen with its elements."""
        state = self.get_state()
        seen = read_pixels(state.pixels)
        elements = read_ui_elements(state.ui_elements, seen.image_size)
        return Observation(image=seen.image, image_size=seen.image_size, elements=elements)

    def act(self, action: dict[str, Any]) -> None:
        """Has the environment carry it out."""
        from android_world.env.json_action import JSONAction

        self.env.execute_action(JSONAction(**action))

    def score(self) -> None:
        """None: the runner judges."""
        return None


def read_ui_elements(ui_elements: Any, size: ImageSize) -> tuple[Element, ...]:
    """AndroidWorld's elements as ours, in order; those off the screen, invisible, or without text and use are left out.

    Args:
        ui_elements: `UIElement`s of AndroidWorld's representation_utils.
        size: of the screen in pixels.
    """
    return tuple(element for found in ui_elements if (element := _element(found, size)) is not None)


def _element(found: Any, size: ImageSize) -> Element | None:
    box = found.bbox_pixels
    if box is None or found.is_visible is False:
        return None
    left, top = max(box.x_min, 0), max(box.y_min, 0)
    right, bottom = min(box.x_max, size.width_px), min(box.y_max, size.height_px)
    if left >= right or top >= bottom:
        return None
    is_clickable = bool(found.is_clickable or found.is_long_clickable or found.is_checkable or found.is_editable)
    shown, hint = found.text or "", found.hint_text or found.content_description or ""
    role = role_of(found.class_name or "")
    if role == "field":
        text, value = hint or shown, "" if shown == hint else shown
    else:
        text, value = shown or hint, None
        if found.is_checkable:
            value = "on" if found.is_checked else "off"
    if not (is_clickable or text):
        return None
    return Element(
        role=role or ("row" if is_clickable else "text"), text=text, value=value, id=found.resource_name or "",
        box=BoxNorm.from_px(left, top, right, bottom, size), is_clickable=is_clickable,
        is_focused=bool(found.is_focused),
    )  # fmt: skip
