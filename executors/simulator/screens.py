"""What each page shows: pure functions from an app's data and the present frame to a `Screen`."""

from __future__ import annotations

from executors.simulator.apps import APPS, CART, ORDERED, AppSpec, Flag, RecordSpec, Tab
from executors.simulator.state import AppData, Record
from executors.simulator.widgets import DESKTOP, Frame, Op, Page, Screen, Widget


def home_screen(icon_order: tuple[str, ...], form: str, selected: str | None) -> Screen:
    """The grid of app icons."""
    icons = tuple(
        Widget(role="icon", label=name, op=("open", name), value="selected" if name == selected else None)
        for name in icon_order
    )
    return Screen(title="Desktop" if form == DESKTOP else "Home", items=icons, is_grid=True)


def tip_screen(app: str, tip: str) -> Screen:
    """A page of advice that must be passed before the app."""
    button = Widget(role="button", label="Continue", op=("pass_tip",), is_strong=True)
    return Screen(title=app, items=(Widget(role="text", label="Tip", value=tip),), actions=(button,))


def app_screen(spec: AppSpec, data: AppData, frame: Frame) -> Screen:
    """The screen of an app's page."""
    kind = frame.page[0]
    if kind == "tab":
        return _tab_screen(spec, data, frame.page[1])
    if kind == "options":
        return Screen(title=frame.page[1], items=_option_items(spec, data, frame.page[1]))
    if kind == "group":
        return _group_screen(spec, data, frame.page[1])
    if kind == "record":
        return _record_screen(spec, data, frame)
    return _form_screen(spec, data, frame)


def tabs_of(spec: AppSpec, selected: str) -> tuple[Widget, ...]:
    """The app's tab bar; an app with one root page has none."""
    if len(spec.tabs) == 1:
        return ()
    return tuple(
        Widget(role="tab", label=t.label, value="selected" if t.label == selected else None, op=("tab", t.label))
        for t in spec.tabs
    )


def listed(tab: Tab, records: list[Record]) -> list[Record]:
    """The records that a list tab shows."""
    return [r for r in records if (not tab.tag or tab.tag in r.tags) and (not tab.without or tab.without not in r.tags)]


def _tab_screen(spec: AppSpec, data: AppData, label: str) -> Screen:
    tab = next(t for t in spec.tabs if t.label == label)
    items: tuple[Widget, ...]
    actions: list[Widget] = []
    if tab.kind == "options":
        items = _option_items(spec, data, label)
    elif tab.kind == "menu":
        items = tuple(Widget(role="row", label=p, op=("goto", ("options", p))) for p in data.order[""])
    elif tab.kind == "groups":
        items = tuple(Widget(role="row", label=g, op=("goto", ("group", g))) for g in data.groups)
    else:
        shown = listed(tab, data.records)
        items = tuple(_row(spec.record, r) for r in shown)
        if spec.record.can_new:
            actions.append(_new_button(spec.record, ""))
        if tab.tag == CART.tag and shown:
            actions.append(Widget(role="button", label="Check out", op=("ask_order",), is_strong=True))
    return Screen(
        title=spec.name,
        items=items,
        tabs=tabs_of(spec, label),
        actions=tuple(actions),
        hint="" if items else "empty",
    )


def _group_screen(spec: AppSpec, data: AppData, group: str) -> Screen:
    items = tuple(_row(spec.record, r) for r in data.records if r.group == group)
    actions = (_new_button(spec.record, group),) if spec.record.can_new else ()
    return Screen(title=group, items=items, actions=actions, hint="" if items else "empty")


def _new_button(spec: RecordSpec, group: str) -> Widget:
    return Widget(role="button", label="New", op=("goto", ("new", group)), is_strong=True)


def _row(spec: RecordSpec, record: Record) -> Widget:
    has_menu = spec.menu_flags or spec.check_role
    long_op: Op | None = ("menu", record.id) if has_menu else None
    if spec.check_role:
        state = "on" if "on" in record.tags else "off"
        return Widget(
            role=spec.check_role, label=record.title, value=state, op=("tag", record.id, "on"), long_op=long_op
        )
    tags = " ".join(sorted(record.tags - {"archived", CART.tag}))
    return Widget(
        role="row", label=record.title, value=tags or None, op=("goto", ("record", record.id)), long_op=long_op
    )


def _option_items(spec: AppSpec, data: AppData, page: str) -> tuple[Widget, ...]:
    kinds = {s.label: s.kind for s in spec.options[page]}
    items = []
    for label in data.order[page]:
        value = data.values[label]
        if kinds[label] == "switch":
            items.append(Widget(role="switch", label=label, value="on" if value else "off", op=("toggle", label)))
        elif kinds[label] == "slider":
            items.append(Widget(role="slider", label=label, value=str(value), op=("slide", label)))
        else:
            items.append(Widget(role="row", label=label, value=str(value), op=("options", label)))
    return tuple(items)


def flag_button(flag: Flag, record: Record, role: str) -> Widget:
    """The button or menu option that sets or clears a flag."""
    label = flag.clear_label if flag.tag in record.tags else flag.set_label
    return Widget(role=role, label=label, op=("tag", record.id, flag.tag))


def _record_screen(spec: AppSpec, data: AppData, frame: Frame) -> Screen:
    record = data.record(frame.page[1])
    items = [Widget(role="text", label=k, value=v) for k, v in list(record.fields.items())[1:]]
    items += [Widget(role="text", label="You", value=text) for text in record.sent[-3:]]
    tags = record.tags - {ORDERED}
    if tags:
        items.append(Widget(role="text", label="Mark", value=" ".join(sorted(tags))))
    actions = [flag_button(f, record, "button") for f in spec.record.detail_flags]
    if spec.record.can_edit:
        actions.append(Widget(role="button", label="Edit", op=("goto", ("edit", record.id))))
    if spec.record.can_send:
        items.append(_field("Message", frame))
        actions.append(Widget(role="button", label="Send", op=("send",), is_strong=True))
    elif spec.record.can_delete:
        actions.append(Widget(role="button", label="Delete", op=("ask_delete", record.id)))
    hint = "" if items else spec.record.noun
    return Screen(title=record.title, items=tuple(items), actions=tuple(actions), hint=hint)


def _field(label: str, frame: Frame) -> Widget:
    return Widget(
        role="field",
        label=label,
        value=frame.draft.get(label, ""),
        op=("focus", label),
        is_focused=frame.focus == label,
    )


def _form_screen(spec: AppSpec, data: AppData, frame: Frame) -> Screen:
    items = []
    for f in spec.record.fields:
        if f.is_choice:
            items.append(
                Widget(role="row", label=f.label, value=frame.draft.get(f.label) or "none", op=("options", f.label))
            )
        else:
            items.append(_field(f.label, frame))
    verb = "Edit" if frame.page[0] == "edit" else "New"
    save = Widget(role="button", label="Save", op=("save",), is_strong=True)
    return Screen(title=f"{verb} {spec.record.noun}", items=tuple(items), actions=(save,))


def path_to(app: str, data: AppData, page: Page) -> list[Page]:
    """The pages from an app's root to `page`, both included: the way a person would walk."""
    spec = APPS[app]
    kind = page[0]
    if kind == "tab":
        return [page]
    if kind == "options":
        root = next(t for t in spec.tabs if t.kind in ("menu", "options"))
        return [("tab", root.label), page] if root.kind == "menu" else [("tab", page[1])]
    if kind == "group":
        return [("tab", spec.tabs[0].label), page]
    if kind == "new":
        parent = path_to(app, data, ("group", page[1])) if page[1] else [("tab", spec.tabs[0].label)]
        return [*parent, page]
    record = data.record(page[1])
    if record.group:
        parent = path_to(app, data, ("group", record.group))
    else:
        tab = next((t for t in spec.tabs if t.kind == "list" and record in listed(t, data.records)), spec.tabs[0])
        parent = [("tab", tab.label)]
    if spec.record.check_role:
        return parent
    return [*parent, ("record", record.id)] + ([page] if kind == "edit" else [])
