"""The simulator as an executor: screenshots, element trees, and actions by pixel."""

from __future__ import annotations

from executors.actions import Action, Space, validate
from executors.errors import ExecutorError, InputError
from executors.executor import ExecutionResult
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.simulator.goals import expected_data, is_reached
from executors.simulator.layout import BoxPx, Placed
from executors.simulator.render import Drawing, render
from executors.simulator.tasks.base import Task
from executors.simulator.widgets import DESKTOP, FORM_SIZES_PX
from executors.simulator.world import World
from executors.trajectory import Element, Observation

_READ_ONLY_ROLES = ("text", "dialog", "hint")


def observe_world(world: World, *, with_image: bool = True) -> Observation:
    """What is on a world's screen now: elements exactly as visible, title as summary, and the screenshot.

    Args:
        world: the world.
        with_image: False leaves the picture out, which is much faster.
    """
    size = ImageSize(*FORM_SIZES_PX[world.look.form])
    arrangement = world.arrangement
    elements = [_element(p, size) for p in world.placed]
    if arrangement.panel is None:
        left, top, right, bottom = arrangement.body
        if world.screen.hint:
            elements.append(_read_only("text", world.screen.hint, (left, top + 4, right, top + 36), size))
        if arrangement.has_above:
            elements.append(_read_only("hint", "more above", (left, top, right, top + 15), size))
        if arrangement.has_below:
            elements.append(_read_only("hint", "more below", (left, bottom - 14, right, bottom), size))
    image = draw_world(world).image if with_image else None
    return Observation(image_size=size, image=image, elements=tuple(elements), summary=world.screen.title)


def draw_world(world: World) -> Drawing:
    """The screenshot of a world's screen now, with the texts on it."""
    look = world.look
    colours = {name: k + look.colour_shift for k, name in enumerate(sorted(look.icon_order))}
    return render(world.screen, world.arrangement, form=look.form, theme=look.theme, layout=look.layout,
                  icon_colours=colours)


def _element(placed: Placed, size: ImageSize) -> Element:
    widget = placed.widget
    return Element(
        role=widget.role,
        text=widget.label,
        value=widget.value,
        box=BoxNorm.from_px(*placed.box, size),
        is_clickable=widget.op is not None,
        is_focused=widget.is_focused,
    )


def _read_only(role: str, text: str, box: BoxPx, size: ImageSize) -> Element:
    return Element(role=role, text=text, box=BoxNorm.from_px(*box, size), is_clickable=False)


def hit(world: World, point: PointNorm) -> Placed | None:
    """The operable widget under a point, None when there is none (or when a dialog covers it)."""
    x, y = point.to_px(ImageSize(*FORM_SIZES_PX[world.look.form]))
    for placed in world.placed:
        left, top, right, bottom = placed.box
        right += placed.widget.role == "slider"  # a knob at 100 sits on the track's right edge
        if placed.widget.op is not None and left <= x < right and top <= y < bottom:
            return placed
    return None


def slider_value(box: BoxPx, x_px: int) -> int:
    """The value (0..100 in tens) of a point on a slider's track.

    >>> slider_value((10, 0, 110, 20), 78)
    70
    """
    left, _, right, _ = box
    share = min(1.0, max(0.0, (x_px - left) / (right - left)))
    return round(share * 10) * 10


def apply_action(world: World, action: Action) -> bool:
    """Carries out a grounded, non-terminal action on a world; returns whether anything changed.

    Chance (pop-ups) is drawn once afterwards, whatever the action did.
    """
    changed = _dispatch(world, action)
    world.pass_time()
    return changed


def _dispatch(world: World, action: Action) -> bool:
    match action.type:
        case "click" | "left_double":
            return _click(world, action.point, is_double=action.type == "left_double")
        case "long_press" | "right_single":
            placed = hit(world, action.point)
            return placed is not None and world.operate(placed.widget.long_op)
        case "drag":
            return _drag(world, action.start_point, action.end_point)
        case "scroll":
            return world.scroll(action.direction)
        case "type":
            has_clicked = action.point is not None and _click(world, action.point, is_double=False)
            return world.type_text(action.content.strip("\n")) or has_clicked
        case "open_app":
            return world.open_app(action.app_name)
        case "press_home":
            return world.go_home()
        case "press_back":
            return world.go_back()
        case "hotkey":
            return action.key in ("esc", "escape") and world.overlay is not None and world.go_back()
    return False  # wait, hover, press_appselect and the like pass time only


def _click(world: World, point: PointNorm, *, is_double: bool) -> bool:
    placed = hit(world, point)
    if placed is None:
        return False
    op = placed.widget.op
    if op[0] == "open" and world.look.form == DESKTOP and not is_double:
        return world.operate(("select", op[1]))
    if op[0] == "slide":
        x, _ = point.to_px(ImageSize(*FORM_SIZES_PX[world.look.form]))
        return world.operate(("slide", op[1], slider_value(placed.box, x)))
    return world.operate(op)


def _drag(world: World, start: PointNorm, end: PointNorm) -> bool:
    source = hit(world, start)
    if source is None:
        return False
    if source.widget.op[0] == "slide":
        x, _ = end.to_px(ImageSize(*FORM_SIZES_PX[world.look.form]))
        return world.operate(("slide", source.widget.op[1], slider_value(source.box, x)))
    target = hit(world, end)
    if target is None or not (_is_record_row(source) and _is_record_row(target)):
        return False
    return world.reorder(source.widget.op[1][1], target.widget.op[1][1])


def _is_record_row(placed: Placed) -> bool:
    op = placed.widget.op
    return op is not None and op[0] == "goto" and op[1][0] == "record"


class SimulatorExecutor:
    """One task of the simulator as a device.

    `world` may be read by an oracle; it is replaced at every `reset`. The episode ends with a terminal action, after
    which `execute` raises until the next `reset`.
    """

    def __init__(self, task: Task, *, interruption_rate: float = 0.05, noise_seed: int = 0) -> None:
        """A device for `task`, already reset.

        Args:
            task: the task.
            interruption_rate: chance 0..1 of a pop-up after each action where none stands, and, when an app is opened,
                of a tip page and, as far as both fit into 1, of landing on another page. At 1 every pop-up is followed
                by the next, so nothing else can be reached.
            noise_seed: another value gives other interruptions for the same task.

        Raises:
            InputError: the rate is outside 0..1.
        """
        if not 0.0 <= interruption_rate <= 1.0:
            raise InputError(f"interruption_rate {interruption_rate} is not allowed: give a probability 0..1")
        self.task = task
        self._interruption_rate, self._noise_seed = interruption_rate, noise_seed
        self._expected = expected_data(task.data, task.plan.wants)
        self.reset()

    @property
    def spaces(self) -> frozenset[Space]:
        """Mobile on a phone, computer on a desktop."""
        return frozenset({Space.COMPUTER if self.form == DESKTOP else Space.MOBILE})

    @property
    def goal(self) -> str:
        """The task's goal."""
        return self.task.goal

    @property
    def form(self) -> str:
        """"phone" or "desktop"."""
        return self.task.form

    @property
    def is_done(self) -> bool:
        """True after a terminal action."""
        return self._ending is not None

    def reset(self) -> Observation:
        """Starts the task from its beginning, with the same interruptions to come."""
        self.world = self.task.make_world(interruption_rate=self._interruption_rate, noise_seed=self._noise_seed)
        self._ending: str | None = None
        return self.observe()

    def observe(self, *, with_image: bool = True) -> Observation:
        """Elements and title of the present screen, and its screenshot unless it is not wanted."""
        return observe_world(self.world, with_image=with_image)

    def execute(self, action: Action) -> ExecutionResult:
        """Carries out a grounded action.

        Raises:
            ExecutorError: boundary "execute": the episode has ended, the action is not of this device's space, or
                it is malformed or lacks a point.
        """
        had_effect = self.advance(action)
        message = "" if had_effect else f"{action.type} had no effect"
        if self.is_done:
            message = "the episode has ended"
        return ExecutionResult(observation=self.observe(), had_effect=had_effect, message=message)

    def advance(self, action: Action) -> bool:
        """As `execute`, without looking at the screen afterwards; returns whether the action had an effect."""
        if self.is_done:
            raise ExecutorError("execute", "the episode has ended: reset before acting again")
        problem = validate(action, need_targets=True)
        if problem is not None:
            raise ExecutorError("execute", f"{action.type} cannot be carried out: {problem}")
        if not action.spec.spaces & self.spaces:
            raise ExecutorError("execute", f"a {self.form} does not take {action.type}")
        if action.is_terminal:
            self._ending = action.type
            return True
        return apply_action(self.world, action)

    def is_success(self) -> bool:
        """Whether the episode has ended rightly, judged on the final state alone.

        `finished` is right when the task's apps are exactly as the goal asks for; `call_user` is right on an impossible
        task whose apps are untouched. In all other apps only a lost record counts, not what was changed or added. An
        episode that has not ended is no success.
        """
        return self._ending is not None and self.is_right_ending(self.world, self._ending)

    def is_right_ending(self, world: World, ending: str) -> bool:
        """Whether an episode of this task that ends in this world with this terminal action is a success."""
        if (ending == "call_user") != self.task.is_impossible:
            return False
        ordered = self.task.template.apps if self.task.plan.is_ordered else ()
        return is_reached(world.data, self._expected, self.task.template.apps, ordered)

    def close(self) -> None:
        """Nothing to release."""
