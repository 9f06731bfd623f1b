"""The oracle: the next right action of a task, computed from the present world alone.

It pursues the task's wants in order. Whatever lies in the way (a pop-up, a tip, a dialog not asked for, another page,
another app, a wrong text in a field) is dealt with first, so it recovers from any state that can be mended.
"""

from __future__ import annotations

from dataclasses import dataclass

from executors.actions import Action
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.simulator.apps import APPS, CART, ORDERED
from executors.simulator.goals import (
    Buy,
    Create,
    Delete,
    Edit,
    LookFor,
    MoveTo,
    Order,
    Send,
    SetTag,
    SetValue,
    Source,
    Want,
    expected_data,
    is_met,
)
from executors.simulator.layout import Placed
from executors.simulator.screens import path_to
from executors.simulator.tasks.base import Task
from executors.simulator.widgets import DESKTOP, FORM_SIZES_PX, Op, Page
from executors.simulator.world import World

MEMORY_STEPS = 6
"""How many actions after leaving a page its reading still counts as remembered: the history that planners see."""


@dataclass(frozen=True, slots=True)
class Move:
    """One action of the oracle, its instruction, the target's box, and whether it answers an interruption."""

    action: Action
    instruction: str
    target: BoxNorm | None = None
    is_interruption: bool = False


_GIVE_UP = Move(Action(type="call_user"), "not possible")


def oracle_action(world: World, task: Task) -> tuple[Action, str, BoxNorm | None]:
    """The next right action.

    Args:
        world: the present world of the task.
        task: the task.

    Returns:
        The grounded action, the step instruction in words, and the box of the element meant (None for keys,
        scrolling, typing and endings).
    """
    move = oracle_move(world, task)
    return move.action, move.instruction, move.target


def oracle_move(world: World, task: Task) -> Move:
    """As `oracle_action`, also telling whether the move only answers an interruption."""
    if world.popup is not None:
        return _tap(world, _find(world, ("dismiss",)), is_interruption=True)
    if world.tip is not None:
        return _tap(world, _find(world, ("pass_tip",)), is_interruption=True)
    for want in task.plan.wants:
        if isinstance(want, LookFor):
            repair = _repair(world, task)
            return _look_for(world, want) if repair is None else _pursue(world, repair)
        if not is_met(want, world.data, task.data):
            return _pursue(world, _stray_in_cart(world, task, want) or want)
    repair = _repair(world, task)
    if repair is not None:
        return _pursue(world, repair)
    return Move(Action(type="finished"), "done")


def _stray_in_cart(world: World, task: Task, want: Want) -> SetTag | None:
    """Before an order: a want that takes a product out of the cart which is not to be ordered."""
    if not isinstance(want, (Buy, Order)):
        return None
    meant = {other.record_id for other in task.plan.wants if isinstance(other, Buy)}
    meant |= {record.id for record in task.data[want.app].records if CART.tag in record.tags}
    for record in world.data[want.app].records:
        if CART.tag in record.tags and record.id not in meant:
            return SetTag(want.app, record.id, CART.tag, is_set=False)
    return None


def _repair(world: World, task: Task) -> Want | None:
    """A want that undoes a wrong change in the task's apps, None when nothing (mendable) is wrong."""
    expected = expected_data(task.data, task.plan.wants)
    for name in task.template.apps:
        have, want = world.data[name], expected[name]
        for label, value in want.values.items():
            if have.values[label] != value:
                return SetValue(name, label, value)
        keys = [r.key() for r in want.records]
        for record in have.records:
            if record.key() in keys:
                keys.remove(record.key())
                continue
            meant = want.record(record.id) if task.data[name].record(record.id) is not None else None
            if meant is None and APPS[name].record.can_delete:
                spec = APPS[name].record
                return Delete(name, record.id, "menu" if spec.check_role or not _has_detail_delete(name) else "detail")
            for label, value in meant.fields.items() if meant is not None else ():
                if record.fields[label] != value:
                    return Edit(name, record.id, label, value)
            wrong_tags = (record.tags ^ meant.tags) - {ORDERED} if meant is not None else ()
            if wrong_tags:
                tag = sorted(wrong_tags)[0]
                return SetTag(name, record.id, tag, tag in meant.tags, _tag_place(name, tag))
        if task.plan.is_ordered:
            ids, wanted = [r.id for r in have.records], [r.id for r in want.records]
            for here, there in zip(ids, wanted, strict=False):
                if here != there and there in ids:
                    return MoveTo(name, there, here)
    return None


def _has_detail_delete(app: str) -> bool:
    spec = APPS[app].record
    return spec.can_delete and not spec.can_send


def _tag_place(app: str, tag: str) -> str:
    spec = APPS[app].record
    if spec.check_role:
        return "row"
    return "menu" if any(f.tag == tag for f in spec.menu_flags) else "detail"


def _pursue(world: World, want: Want) -> Move:
    match want:
        case SetValue():
            return _set_value(world, want)
        case SetTag(via="detail"):
            ops = (("tag", want.record_id, want.tag),)
            return _reach(world, want.app, ("record", want.record_id), ops)
        case SetTag():
            ops = (("tag", want.record_id, want.tag),)
            if want.via == "menu":
                ops += (("menu", want.record_id),)
            return _reach(world, want.app, _list_of(world, want.app, want.record_id), ops)
        case Delete():
            ops = (("delete", want.record_id), ("ask_delete", want.record_id))
            if want.via == "detail":
                return _reach(world, want.app, ("record", want.record_id), ops)
            page = _list_of(world, want.app, want.record_id)
            return _reach(world, want.app, page, (*ops, ("menu", want.record_id)))
        case Create():
            return _fill_form(world, want.app, ("new", want.group), dict(want.fields), want.source)
        case Edit():
            fields = {**world.data[want.app].record(want.record_id).fields, want.label: want.value}
            return _fill_form(world, want.app, ("edit", want.record_id), fields, None)
        case Send():
            return _send(world, want)
        case Buy() if CART.tag not in world.data[want.app].record(want.record_id).tags:
            return _reach(world, want.app, ("record", want.record_id), (("tag", want.record_id, CART.tag),))
        case Order() | Buy():
            return _reach(world, want.app, ("tab", "Cart"), (("order",), ("ask_order",)))
        case MoveTo():
            return _move_to(world, want)
    raise AssertionError(f"no way to pursue {want}")


def _list_of(world: World, app: str, record_id: int) -> Page:
    path = path_to(app, world.data[app], ("record", record_id))
    return path[-1] if APPS[app].record.check_role else path[-2]


def _reach(world: World, app: str, page: Page, ops: tuple[Op, ...]) -> Move:
    """A tap that carries out the first of `ops` to be found, after getting to the page."""
    own_ops = ops if world.app == app else ()  # record numbers are each app's own: another app's dialog is closed
    move = _settle(world, own_ops) or _go(world, app, page)
    if move is not None:
        return move
    for op in ops:
        placed = _find(world, op)
        if placed is not None:
            return _tap(world, placed, op=op)
    return _scroll_to(world, ops)


def _settle(world: World, ops: tuple[Op, ...]) -> Move | None:
    """With a dialog open: the button that carries out one of `ops`, else the one that closes it."""
    if world.dialog is None:
        return None
    for op in ops:
        placed = _find(world, op)
        if placed is not None:
            return _tap(world, placed)
    return _tap(world, _find(world, ("cancel",)))


def _go(world: World, app: str, page: Page) -> Move | None:
    """One step towards an app's page, None when it is open."""
    if world.app is None:
        return _open(world, app)
    if world.app != app:
        return go_home(world)
    if world.frame.page == page:
        return None
    path = path_to(app, world.data[app], page)
    here = world.frame
    if here.page in path:
        op: Op = ("goto", path[path.index(here.page) + 1])
        placed = _find(world, op)
        return _tap(world, placed) if placed is not None else _scroll_to(world, (op,))
    if here.page[0] == "tab":
        return _tap(world, _find(world, ("tab", path[0][1])), is_interruption=here.is_astray)
    return go_back(world, is_interruption=here.is_astray)


def _open(world: World, app: str) -> Move:
    return _tap(world, _find(world, ("open", app)))


def go_home(world: World, *, note: str = "") -> Move:
    """Leaves the app, noting a reading first where one is given."""
    prefix = f'note "{note}" and ' if note else ""
    if world.look.form == DESKTOP:
        move = _tap(world, _find(world, ("home",)))
        return Move(move.action, prefix + move.instruction, move.target)
    return Move(Action(type="press_home"), f"{prefix}go home")


def go_back(world: World, *, is_interruption: bool = False) -> Move:
    """Goes back one page."""
    placed = _find(world, ("back",)) if world.look.form == DESKTOP else None
    if world.look.form == DESKTOP and placed is None:
        placed = _find(world, ("home",))
    if placed is not None:
        return _tap(world, placed, is_interruption=is_interruption)
    return Move(Action(type="press_back"), "go back", is_interruption=is_interruption)


def _find(world: World, op: Op) -> Placed | None:
    """The visible widget that carries out an operation when tapped or held."""
    for placed in world.placed:
        if op in (placed.widget.op, placed.widget.long_op):
            return placed
    return None


def _scroll_to(world: World, ops: tuple[Op, ...]) -> Move:
    """Scrolls towards the item that carries out one of the operations."""
    shown = [p.item_index for p in world.placed if p.item_index is not None]
    index = next((i for i, w in enumerate(world.screen.items) if w.op in ops or w.long_op in ops), None)
    assert index is not None, f"nothing on {world.frame.page} of {world.app} does {ops}"
    return _scroll("down" if index > max(shown) else "up")


def _scroll(direction: str) -> Move:
    action = Action(type="scroll", point=PointNorm(0.5, 0.5), direction=direction)
    return Move(action, f"scroll {direction}")


def _tap(world: World, placed: Placed, *, op: Op | None = None, is_interruption: bool = False) -> Move:
    """Taps a widget: a double click for desktop icons, a long press or right click for its menu."""
    box = BoxNorm.from_px(*placed.box, ImageSize(*FORM_SIZES_PX[world.look.form]))
    verb, kind = "tap", "click"
    is_desktop = world.look.form == DESKTOP
    if op is not None and op == placed.widget.long_op:
        verb, kind = ("right click", "right_single") if is_desktop else ("long press", "long_press")
    elif placed.widget.role == "icon" and is_desktop:
        verb, kind = "double click", "left_double"
    instruction = f'{verb} the "{placed.widget.label}" {placed.widget.role}'
    return Move(Action(type=kind, point=box.center), instruction, box, is_interruption)


def _set_value(world: World, want: SetValue) -> Move:
    spec = APPS[want.app]
    page_name, setting = spec.setting(want.label)
    page = path_to(want.app, world.data[want.app], ("options", page_name))[-1]
    if setting.kind == "switch":
        return _reach(world, want.app, page, (("toggle", want.label),))
    if setting.kind == "choice":
        return _reach(world, want.app, page, (("choose", want.label, want.value), ("options", want.label)))
    move = _settle(world, ()) or _go(world, want.app, page)
    if move is not None:
        return move
    placed = _find(world, ("slide", want.label))
    return _slide(world, placed, want.value) if placed is not None else _scroll_to(world, (("slide", want.label),))


def _slide(world: World, placed: Placed, value: int) -> Move:
    box = BoxNorm.from_px(*placed.box, ImageSize(*FORM_SIZES_PX[world.look.form]))
    width, y = box.right - box.left, box.center.y
    start = PointNorm(box.left + width * int(placed.widget.value) / 100, y)
    end = PointNorm(box.left + width * value / 100, y)
    instruction = f'drag the "{placed.widget.label}" slider to "{value}"'
    return Move(Action(type="drag", start_point=start, end_point=end), instruction, box)


def _move_to(world: World, want: MoveTo) -> Move:
    move = _settle(world, ()) or _go(world, want.app, _list_of(world, want.app, want.record_id))
    if move is not None:
        return move
    source = _find(world, ("goto", ("record", want.record_id)))
    target = _find(world, ("goto", ("record", want.onto_id)))
    if source is None or target is None:
        missing = want.record_id if source is None else want.onto_id
        return _scroll_to(world, (("goto", ("record", missing)),))
    size = ImageSize(*FORM_SIZES_PX[world.look.form])
    start, end = BoxNorm.from_px(*source.box, size), BoxNorm.from_px(*target.box, size)
    instruction = f'drag the "{source.widget.label}" row to the "{target.widget.label}" row'
    return Move(Action(type="drag", start_point=start.center, end_point=end.center), instruction, start)


def _read(world: World, source: Source) -> Move | None:
    """One step towards having read a record's page; None when it was read lately."""
    page = ("record", source.record_id)
    if world.data[source.app].record(source.record_id) is None:
        return _GIVE_UP  # someone deleted what was to be read
    if world.app == source.app and world.dialog is None and world.frame.page == page:
        return go_home(world, note=source.text)
    left_at = world.noted.get((source.app, source.record_id))
    if left_at is not None and world.num_steps - left_at <= MEMORY_STEPS:
        return None
    return _settle(world, ()) or _go(world, source.app, page)


def _fill_form(world: World, app: str, page: Page, fields: dict[str, str], source: Source | None) -> Move:
    is_open = world.app == app and world.frame.page == page
    draft = world.frame.draft if is_open else {}
    if source is not None and (not is_open or source.text not in draft.values()):
        move = _read(world, source)
        if move is not None:
            return move
    choices = {f.label: f.is_choice for f in APPS[app].record.fields}
    if world.dialog is not None:
        ops = tuple(("choose", k, v) for k, v in fields.items() if choices[k]) if is_open else ()
        return _settle(world, ops)
    move = _go(world, app, page)
    if move is not None:
        return move
    for label, value in draft.items():
        if value and not fields.get(label):
            return go_back(world)  # a text in a field that must stay empty: only leaving the form undoes it
    for label, value in fields.items():
        if draft.get(label, "") == value:
            continue
        if choices[label]:
            return _reach(world, app, page, (("options", label),))
        return _type_into(world, label, value)
    return _reach(world, app, page, (("save",),))


def _type_into(world: World, label: str, text: str) -> Move:
    if world.frame.focus == label:
        return Move(Action(type="type", content=text), f'type "{text}"')
    placed = _find(world, ("focus", label))
    return _tap(world, placed) if placed is not None else _scroll_to(world, (("focus", label),))


def _send(world: World, want: Send) -> Move:
    page = ("record", want.record_id)
    is_open = world.app == want.app and world.frame.page == page
    is_typed = is_open and world.frame.draft.get("Message") == want.text
    if want.source is not None and not is_typed:
        move = _read(world, want.source)
        if move is not None:
            return move
    move = _settle(world, ()) or _go(world, want.app, page)
    if move is not None:
        return move
    if not is_typed:
        return _type_into(world, "Message", want.text)
    return _reach(world, want.app, page, (("send",),))


def _look_for(world: World, want: LookFor) -> Move:
    """Walks to the page, sees all its rows, and gives up."""
    move = _settle(world, ()) or _go(world, want.app, want.page)
    if move is not None:
        return move
    arrangement = world.arrangement
    unseen = [i for i, w in enumerate(world.screen.items) if w.label not in world.frame.seen]
    if unseen:
        shown = [p.item_index for p in arrangement.base if p.item_index is not None]
        return _scroll("down" if unseen[0] > max(shown) else "up")
    return _GIVE_UP
