"""Training templates of levels 1 and 2: toggles, sliders, choices, lists, forms, dialogs, context menus, dragging."""

from __future__ import annotations

import random
from collections.abc import Callable

from executors.simulator import vocab
from executors.simulator.apps import APPS, CART, Flag
from executors.simulator.goals import Create, Delete, Edit, MoveTo, Order, Send, SetTag, SetValue
from executors.simulator.state import Data
from executors.simulator.tasks.base import Plan, TaskTemplate, new_name, pick, root_of, say

Make = Callable[[random.Random, Data], Plan]


def toggle(app: str, *, start: str = "home") -> Make:
    """Sets a switch of an app; `start` is "home", "root" or "page" (the switch's own page)."""

    def make(rng: random.Random, data: Data) -> Plan:
        spec = APPS[app]
        page = rng.choice(list(spec.options))
        label = rng.choice([s.label for s in spec.options[page] if s.kind == "switch"])
        value = not data[app].values[label]
        goal = say(rng, "Turn {state} {label} in {app}.", "Switch {state} {label} in {app}.",
                   "In {app} turn {label} {state}.", state="on" if value else "off", label=label, app=app)
        return Plan(goal=goal, wants=(SetValue(app, label, value),), start=_start(app, page, start))

    return make


def _start(app: str, page: str, start: str) -> tuple:
    if start == "home":
        return ()
    root = APPS[app].tabs[0]
    if start == "root":
        return (("tab", root.label),)
    return (("tab", root.label), ("options", page)) if root.kind == "menu" else (("tab", page),)


def slide(app: str, *, start: str = "home") -> Make:
    """Drags a slider of an app to another value."""

    def make(rng: random.Random, data: Data) -> Plan:
        pages = [(p, s.label) for p, settings in APPS[app].options.items() for s in settings if s.kind == "slider"]
        page, label = rng.choice(pages)
        value = rng.choice([v for v in range(10, 100, 10) if v != data[app].values[label]])
        goal = say(rng, "Set {label} to {value} in {app}.", "In {app} set the {label} to {value}.",
                   "Change {label} to {value} in {app}.", label=label, value=value, app=app)
        return Plan(goal=goal, wants=(SetValue(app, label, value),), start=_start(app, page, start))

    return make


def choose(rng: random.Random, data: Data) -> Plan:
    """Picks another option of a choice in Settings."""
    settings = [s for page in APPS["Settings"].options.values() for s in page if s.kind == "choice"]
    setting = rng.choice(settings)
    option = rng.choice([o for o in setting.options if o != data["Settings"].values[setting.label]])
    goal = say(rng, "Set {label} to {option} in Settings.", "Change the {label} to {option} in Settings.",
               label=setting.label, option=option)
    return Plan(goal=goal, wants=(SetValue("Settings", setting.label, option),))


def check(app: str, *, value: bool, first: int = 0, last: int | None = 4, start: str = "home") -> Make:
    """Marks a row of a check list: a task done or an alarm on, or the reverse."""
    words = {
        ("Tasks", True): ("Mark the task \"{name}\" as done.", "Check \"{name}\" in Tasks."),
        ("Tasks", False): ("Mark the task \"{name}\" as open.", "Uncheck \"{name}\" in Tasks."),
        ("Clock", True): ("Turn on the alarm \"{name}\".", "Switch on the \"{name}\" alarm in Clock."),
        ("Clock", False): ("Turn off the alarm \"{name}\".", "Switch off the \"{name}\" alarm in Clock."),
    }[app, value]

    def make(rng: random.Random, data: Data) -> Plan:
        record = pick(rng, data, app, first=first, last=last)
        record.tags = set() if value else {"on"}
        pages = () if start == "home" else (root_of(app),)
        return Plan(
            goal=say(rng, *words, name=record.title), wants=(SetTag(app, record.id, "on", value, "row"),), start=pages
        )

    return make


def flag(app: str, tag: str, *words: str, via: str, value: bool = True, start: str = "home", last: int = 4) -> Make:
    """Sets or clears a mark on a record, by the context menu or on its page."""

    def make(rng: random.Random, data: Data) -> Plan:
        record = pick(rng, data, app, last=last)
        record.tags = set() if value else {tag}
        pages: tuple = ()
        if start == "root":
            pages = (root_of(app),)
        elif start == "page":
            pages = (root_of(app), ("record", record.id))
        goal = say(rng, *words, name=record.title, group=record.group)
        return Plan(goal=goal, wants=(SetTag(app, record.id, tag, value, via),), start=pages)

    return make


def delete(app: str, *, via: str, first: int = 0, last: int | None = 4) -> Make:
    """Deletes a record, which asks for confirmation."""

    def make(rng: random.Random, data: Data) -> Plan:
        record = pick(rng, data, app, first=first, last=last)
        where = f" in {record.group}" if record.group else ""
        goal = say(rng, "Delete the {noun} \"{name}\"{where}.", "Delete \"{name}\"{where} from {app}.",
                   "Remove the {noun} \"{name}\"{where}.", noun=APPS[app].record.noun, name=record.title, app=app,
                   where=where)
        return Plan(goal=goal, wants=(Delete(app, record.id, via),))

    return make


def create(app: str) -> Make:
    """Creates a record by its title alone."""

    def make(rng: random.Random, data: Data) -> Plan:
        spec = APPS[app].record
        name = new_name(rng, data, app)
        group = rng.choice(data[app].groups) if spec.groups else ""
        where = f" in {group}" if group else ""
        goal = say(rng, "Add a new {noun} \"{name}\"{where}.", "Create the {noun} \"{name}\"{where}.",
                   "Add the {noun} \"{name}\"{where} in {app}." if not group else "In {app} add \"{name}\"{where}.",
                   noun=spec.noun, name=name, app=app, where=where)
        return Plan(goal=goal, wants=(Create(app, ((spec.fields[0].label, name),), group),))

    return make


def edit_phone(rng: random.Random, data: Data) -> Plan:
    """Changes a contact's phone number."""
    record = pick(rng, data, "Contacts", last=4)
    code = rng.choice([c for c in vocab.CODES if c != record.fields["Phone"]])
    goal = say(rng, "Change the phone of \"{name}\" to \"{code}\".",
               "Set the phone of contact \"{name}\" to \"{code}\".",
               name=record.title, code=code)
    return Plan(goal=goal, wants=(Edit("Contacts", record.id, "Phone", code),), start=(root_of("Contacts"),))


def rename(app: str) -> Make:
    """Gives a record another title."""

    def make(rng: random.Random, data: Data) -> Plan:
        record, name = pick(rng, data, app, last=4), new_name(rng, data, app)
        label = APPS[app].record.fields[0].label
        goal = say(rng, "Rename the {noun} \"{old}\" to \"{new}\".", "Change the {label} of \"{old}\" to \"{new}\".",
                   noun=APPS[app].record.noun, old=record.title, new=name, label=label)
        return Plan(goal=goal, wants=(Edit(app, record.id, label, name),), start=(root_of(app),))

    return make


def send(rng: random.Random, data: Data) -> Plan:
    """Sends a word in a chat."""
    record = pick(rng, data, "Messages", last=4)
    text = rng.choice(vocab.THINGS)
    goal = say(rng, "Send \"{text}\" to \"{name}\".", "Write \"{text}\" to \"{name}\" in Messages.",
               "Send the message \"{text}\" to \"{name}\".", text=text, name=record.title)
    return Plan(goal=goal, wants=(Send("Messages", record.id, text),))


def add_to_cart(*, first: int = 0, last: int | None = 4, start: str = "home") -> Make:
    """Puts a product in the cart."""

    def make(rng: random.Random, data: Data) -> Plan:
        record = pick(rng, data, "Shop", first=first, last=last)
        goal = say(rng, "Add \"{name}\" to the cart.", "Put \"{name}\" in the cart in Shop.", name=record.title)
        pages = () if start == "home" else (root_of("Shop"),)
        return Plan(goal=goal, wants=(SetTag("Shop", record.id, CART.tag),), start=pages)

    return make


def order_cart(rng: random.Random, data: Data) -> Plan:
    """Orders what is in the cart."""
    for record in rng.sample(data["Shop"].records, rng.randint(1, 3)):
        record.tags.add(CART.tag)
    return Plan(goal=say(rng, "Check out the cart in Shop.", "Order the products in the cart."), wants=(Order(),))


def move(app: str, *, to_top: bool = False, start: str = "home") -> Make:
    """Moves a record to another's place in its list by dragging."""

    def make(rng: random.Random, data: Data) -> Plan:
        onto, moved = rng.sample(data[app].records[:4], 2)
        if to_top:
            onto, moved = data[app].records[0], rng.choice(data[app].records[1:4])
        noun = APPS[app].record.noun
        words = (
            ("Move the {noun} \"{a}\" to the top.", "Move \"{a}\" to the top of {app}.")
            if to_top
            else ("Move the {noun} \"{a}\" to the place of \"{b}\".", "Drag the {noun} \"{a}\" to \"{b}\".")
        )
        pages = () if start == "home" else (root_of(app),)
        return Plan(
            goal=say(rng, *words, noun=noun, a=moved.title, b=onto.title, app=app),
            wants=(MoveTo(app, moved.id, onto.id),),
            start=pages,
            is_ordered=True,
        )

    return make


def flag_words(flag_spec: Flag, noun: str, app: str) -> tuple[str, ...]:
    """Goals that ask for a mark by its label."""
    verb = flag_spec.set_label
    return f'{verb} the {noun} "{{name}}".', f'{verb} "{{name}}" in {app}.'


def _template(name: str, level: int, app: str, make: Make, **extra: object) -> TaskTemplate:
    return TaskTemplate(name=name, level=level, apps=(app,), make=make, **extra)


_PIN, _MAIL_STAR = APPS["Notes"].record.menu_flags[0], APPS["Mail"].record.detail_flags[0]
_ARCHIVE, _FILE_STAR = APPS["Mail"].record.detail_flags[1], APPS["Files"].record.menu_flags[0]
_FAVORITE = APPS["Contacts"].record.menu_flags[0]
_LONG = {"Tasks": 12, "Shop": 12, "Clock": 12, "Contacts": 12}

TEMPLATES = (
    _template("alarm_on", 1, "Clock", check("Clock", value=True)),
    _template("alarm_off", 1, "Clock", check("Clock", value=False)),
    _template("task_done", 1, "Tasks", check("Tasks", value=True)),
    _template("task_open_again", 1, "Tasks", check("Tasks", value=False, start="root")),
    _template("settings_toggle_near", 1, "Settings", toggle("Settings", start="root")),
    _template("settings_toggle_here", 1, "Settings", toggle("Settings", start="page")),
    _template("settings_slider_near", 1, "Settings", slide("Settings", start="root")),
    _template("clock_toggle_near", 1, "Clock", toggle("Clock", start="root")),
    _template("contact_favorite_here", 1, "Contacts",
              flag("Contacts", "favorite", *flag_words(_FAVORITE, "contact", "Contacts"), via="detail", start="page")),
    _template("note_pin_near", 1, "Notes",
              flag("Notes", "pinned", *flag_words(_PIN, "note", "Notes"), via="menu", start="root")),
    _template("note_move_near", 1, "Notes", move("Notes", start="root")),
    _template("shop_add_near", 1, "Shop", add_to_cart(start="root")),
    _template("mail_star_near", 1, "Mail",
              flag("Mail", "starred", "Star the mail from \"{name}\".", "Star the \"{name}\" mail in Mail.",
                   via="detail", start="root")),
    _template("settings_toggle", 2, "Settings", toggle("Settings")),
    _template("settings_slider", 2, "Settings", slide("Settings")),
    _template("settings_choice", 2, "Settings", choose),
    _template("contact_delete", 2, "Contacts", delete("Contacts", via="detail")),
    _template("contact_favorite", 2, "Contacts",
              flag("Contacts", "favorite", *flag_words(_FAVORITE, "contact", "Contacts"), via="menu")),
    _template("contact_phone", 2, "Contacts", edit_phone),
    _template("note_new", 2, "Notes", create("Notes")),
    _template("note_delete", 2, "Notes", delete("Notes", via="menu")),
    _template("note_pin", 2, "Notes", flag("Notes", "pinned", *flag_words(_PIN, "note", "Notes"), via="menu")),
    _template("note_move_top", 2, "Notes", move("Notes", to_top=True)),
    _template("task_new", 2, "Tasks", create("Tasks")),
    _template("task_done_far", 2, "Tasks", check("Tasks", value=True, first=9, last=None), sizes=_LONG),
    _template("alarm_new", 2, "Clock", create("Clock")),
    _template("alarm_off_far", 2, "Clock", check("Clock", value=False, first=9, last=None), sizes=_LONG),
    _template("message_send", 2, "Messages", send),
    _template("shop_add_far", 2, "Shop", add_to_cart(first=9, last=None), sizes=_LONG),
    _template("shop_order", 2, "Shop", order_cart),
    _template("event_delete", 2, "Calendar", delete("Calendar", via="detail")),
    _template("event_rename", 2, "Calendar", rename("Calendar")),
    _template("calendar_toggle", 2, "Calendar", toggle("Calendar")),
    _template("file_star", 2, "Files",
              flag("Files", "starred", "Star the file \"{name}\" in {group}.", "In {group} star the file \"{name}\".",
                   via="menu", last=16)),
    _template("mail_archive", 2, "Mail",
              flag("Mail", _ARCHIVE.tag, "Archive the mail from \"{name}\".", "Archive the \"{name}\" mail in Mail.",
                   via="detail")),
)
