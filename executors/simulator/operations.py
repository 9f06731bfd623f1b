"""What each operation of a widget does to the world; every function returns whether anything changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from executors.simulator import vocab
from executors.simulator.apps import APPS, CART, ORDERED
from executors.simulator.screens import flag_button
from executors.simulator.widgets import Dialog, Frame, Op, Page, Widget

if TYPE_CHECKING:
    from executors.simulator.world import World


def _do_open(world: World, name: str) -> bool:
    world.app, world.selected_icon, world.tip = name, None, None
    world.stack = [Frame(page=("tab", APPS[name].tabs[0].label))]
    draw, pick = world.rng.random(), world.rng.random()
    if draw < world.interruption_rate:
        world.tip = vocab.TIPS[int(pick * len(vocab.TIPS))]
    elif draw < 2 * world.interruption_rate:
        _land_astray(world, pick)
    return True


def _land_astray(world: World, pick: float) -> None:
    spec = world.spec
    if len(spec.tabs) > 1:
        world.stack = [Frame(page=("tab", spec.tabs[1].label), is_astray=True)]
        return
    if spec.tabs[0].kind == "menu":
        pages: list[Page] = [("options", p) for p in world.app_data.order[""]]
    elif spec.tabs[0].kind == "groups":
        pages = [("group", g) for g in world.app_data.groups]
    elif spec.record.check_role:
        pages = [("new", "")]
    else:
        pages = [("record", r.id) for r in world.app_data.records]
    if pages:
        world.stack.append(Frame(page=pages[int(pick * len(pages))], is_astray=True))


def _do_select(world: World, name: str) -> bool:
    changed = world.selected_icon != name
    world.selected_icon = name
    return changed


def _do_pass_tip(world: World) -> bool:
    world.tip = None
    return True


def _do_home(world: World) -> bool:
    return world.go_home()


def _do_back(world: World) -> bool:
    return world.go_back()


def _do_tab(world: World, label: str) -> bool:
    if world.frame.page == ("tab", label):
        return False
    world.stack = [Frame(page=("tab", label))]
    return True


def _do_goto(world: World, page: Page) -> bool:
    frame = Frame(page=page)
    if page[0] == "edit":
        frame.draft.update(world.app_data.record(page[1]).fields)
    world.stack.append(frame)
    return True


def _do_focus(world: World, label: str) -> bool:
    changed = world.frame.focus != label
    world.frame.focus = label
    return changed


def _do_toggle(world: World, label: str) -> bool:
    world.app_data.values[label] = not world.app_data.values[label]
    return True


def _do_slide(world: World, label: str, value: int) -> bool:
    changed = world.app_data.values[label] != value
    world.app_data.values[label] = value
    return changed


def _do_tag(world: World, record_id: int, tag: str) -> bool:
    record = world.app_data.record(record_id)
    record.tags ^= {tag}
    world.dialog = None
    return True


def _do_menu(world: World, record_id: int) -> bool:
    spec, record = world.spec.record, world.app_data.record(record_id)
    options = [flag_button(f, record, "option") for f in spec.menu_flags]
    if spec.can_delete:
        options.append(Widget(role="option", label="Delete", op=("ask_delete", record_id)))
    options.append(Widget(role="option", label="Cancel", op=("cancel",)))
    world.dialog = Dialog(kind="menu", title=record.title, buttons=tuple(options))
    return True


def _do_options(world: World, label: str) -> bool:
    if world.frame.page[0] in ("new", "edit"):
        options = next(f.pool for f in world.spec.record.fields if f.label == label)
    else:
        options = world.spec.setting(label)[1].options
    buttons = [Widget(role="option", label=o, op=("choose", label, o)) for o in options]
    buttons.append(Widget(role="option", label="Cancel", op=("cancel",)))
    world.dialog = Dialog(kind="choice", title=label, buttons=tuple(buttons))
    return True


def _do_choose(world: World, label: str, option: str) -> bool:
    if world.frame.page[0] in ("new", "edit"):
        world.frame.draft[label] = option
    else:
        world.app_data.values[label] = option
    world.dialog = None
    return True


def _do_cancel(world: World) -> bool:
    world.dialog = None
    return True


def _do_ask_delete(world: World, record_id: int) -> bool:
    record = world.app_data.record(record_id)
    _confirm(world, f"Delete {record.title}?", "Delete", ("delete", record_id))
    return True


def _do_ask_order(world: World) -> bool:
    _confirm(world, "Order now?", "Confirm", ("order",))
    return True


def _confirm(world: World, title: str, label: str, op: Op) -> None:
    cancel = Widget(role="button", label="Cancel", op=("cancel",))
    world.dialog = Dialog(
        kind="confirm", title=title, buttons=(cancel, Widget(role="button", label=label, op=op, is_strong=True))
    )


def _do_delete(world: World, record_id: int) -> bool:
    world.dialog = None
    world.app_data.records = [r for r in world.app_data.records if r.id != record_id]
    if world.frame.page[0] == "record":
        world.stack.pop()
    if not world.stack:
        world.stack = [Frame(page=("tab", world.spec.tabs[0].label))]
    return True


def _do_order(world: World) -> bool:
    world.dialog = None
    for record in world.app_data.records:
        if CART.tag in record.tags:
            record.tags = record.tags - {CART.tag} | {ORDERED}
    return True


def _do_save(world: World) -> bool:
    spec, draft, page = world.spec.record, world.frame.draft, world.frame.page
    fields = {f.label: draft.get(f.label, "") for f in spec.fields}
    if not fields[spec.fields[0].label].strip():
        return False
    if page[0] == "edit":
        world.app_data.record(page[1]).fields = fields
    else:
        world.app_data.add(fields, page[1])
    world.stack.pop()
    return True


def _do_send(world: World) -> bool:
    text = world.frame.draft.get("Message", "").strip()
    if not text:
        return False
    world.app_data.record(world.frame.page[1]).sent.append(text)
    world.frame.draft["Message"] = ""
    return True


def _do_dismiss(world: World) -> bool:
    world.popup = None
    return True


def _do_accept(world: World) -> bool:
    world.popup = make_popup("All done", "OK", None)
    return True


def make_popup(title: str, dismiss_label: str, other_label: str | None) -> Dialog:
    """A pop-up whose first button dismisses it; the other leads to one more pop-up."""
    buttons = [Widget(role="button", label=dismiss_label, op=("dismiss",), is_strong=True)]
    if other_label is not None:
        buttons.append(Widget(role="button", label=other_label, op=("accept",)))
    return Dialog(kind="popup", title=title, buttons=tuple(buttons))


OPERATIONS: dict[str, Callable[..., bool]] = {
    "open": _do_open,
    "select": _do_select,
    "pass_tip": _do_pass_tip,
    "home": _do_home,
    "back": _do_back,
    "tab": _do_tab,
    "goto": _do_goto,
    "focus": _do_focus,
    "toggle": _do_toggle,
    "slide": _do_slide,
    "tag": _do_tag,
    "menu": _do_menu,
    "options": _do_options,
    "choose": _do_choose,
    "cancel": _do_cancel,
    "ask_delete": _do_ask_delete,
    "ask_order": _do_ask_order,
    "delete": _do_delete,
    "order": _do_order,
    "save": _do_save,
    "send": _do_send,
    "dismiss": _do_dismiss,
    "accept": _do_accept,
}
