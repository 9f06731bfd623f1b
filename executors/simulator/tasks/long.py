"""Training templates of level 3: full forms, several steps in one app, work across two apps, impossible tasks."""

from __future__ import annotations

import random
from collections.abc import Callable

from executors.simulator import vocab
from executors.simulator.apps import APPS
from executors.simulator.goals import Buy, Create, LookFor, Send, SetTag, SetValue, Source
from executors.simulator.state import Data, Record
from executors.simulator.tasks.base import Plan, TaskTemplate, new_name, pick, root_of, say

Make = Callable[[random.Random, Data], Plan]


def event_new(rng: random.Random, data: Data) -> Plan:
    """A new event with its day."""
    name, day = new_name(rng, data, "Calendar"), rng.choice(vocab.DAYS)
    goal = say(rng, "Add the event \"{name}\" on {day}.", "Create a new event \"{name}\" on {day} in Calendar.",
               name=name, day=day)
    return Plan(goal=goal, wants=(Create("Calendar", (("Title", name), ("Day", day))),))


def contact_new(rng: random.Random, data: Data) -> Plan:
    """A new contact with its phone number."""
    name, code = new_name(rng, data, "Contacts"), rng.choice(vocab.CODES)
    goal = say(rng, "Add the contact \"{name}\" with phone \"{code}\".",
               "Create a new contact \"{name}\" with the phone \"{code}\".", name=name, code=code)
    return Plan(goal=goal, wants=(Create("Contacts", (("Name", name), ("Phone", code))),))


def shop_buy(rng: random.Random, data: Data) -> Plan:
    """Buys one product: cart, check out, confirm."""
    record = pick(rng, data, "Shop", last=4)
    goal = say(rng, "Buy \"{name}\" in Shop.", "Order \"{name}\" from Shop.", name=record.title)
    return Plan(goal=goal, wants=(Buy(record.id),))


def two_toggles(rng: random.Random, data: Data) -> Plan:
    """Two switches on two pages of Settings."""
    pages = rng.sample(list(APPS["Settings"].options), 2)
    labels = [rng.choice([s.label for s in APPS["Settings"].options[p] if s.kind == "switch"]) for p in pages]
    values = [not data["Settings"].values[label] for label in labels]
    words = ["on" if v else "off" for v in values]
    goal = say(rng, "Turn {va} {a} and turn {vb} {b} in Settings.", "In Settings turn {a} {va} and {b} {vb}.",
               a=labels[0], b=labels[1], va=words[0], vb=words[1])
    return Plan(goal=goal, wants=tuple(SetValue("Settings", k, v) for k, v in zip(labels, values, strict=True)))


def alarm_and_setting(rng: random.Random, data: Data) -> Plan:
    """An alarm in Clock and a switch in Settings."""
    record = pick(rng, data, "Clock", last=4)
    record.tags = set()
    page = rng.choice(list(APPS["Settings"].options))
    label = rng.choice([s.label for s in APPS["Settings"].options[page] if s.kind == "switch"])
    value = not data["Settings"].values[label]
    goal = say(rng, "Turn on the alarm \"{name}\" and turn {state} {label} in Settings.",
               "Turn on the \"{name}\" alarm in Clock, then turn {label} {state} in Settings.",
               name=record.title, label=label, state="on" if value else "off")
    return Plan(
        goal=goal, wants=(SetTag("Clock", record.id, "on", True, "row"), SetValue("Settings", label, value))
    )


def _payload(rng: random.Random, record: Record, field: str, kind: str) -> str:
    """Puts a text of a kind ("code", "meet at", "buy") into a record's field; returns the word to carry away."""
    pool = {"code": vocab.CODES, "meet at": vocab.TIMES, "buy": vocab.PRODUCTS}[kind]
    word = rng.choice(pool)
    record.fields[field] = f"{kind} {word}"
    return word


def read_to_new(app: str, field: str, target: str, *words: str, kind: str = "") -> Make:
    """Reads a field of a record in one app and creates a record of another app with it.

    Args:
        app: where to read.
        field: the field to read.
        target: where to create.
        words: goals, with {name} for the record read.
        kind: for message texts, which kind of text; empty means the whole field.
    """

    def make(rng: random.Random, data: Data) -> Plan:
        record = pick(rng, data, app, last=4)
        word = _payload(rng, record, field, kind) if kind else record.fields[field]
        label = APPS[target].record.fields[0].label
        data[target].records = [r for r in data[target].records if r.title != word]
        want = Create(target, ((label, word),), source=Source(app, record.id, word))
        return Plan(goal=say(rng, *words, name=record.title), wants=(want,))

    return make


def read_to_message(app: str, field: str, *words: str) -> Make:
    """Reads a field of a record and sends it in a chat."""

    def make(rng: random.Random, data: Data) -> Plan:
        record, chat = pick(rng, data, app, last=4), pick(rng, data, "Messages", last=4)
        word = record.fields[field]
        want = Send("Messages", chat.id, word, Source(app, record.id, word))
        return Plan(goal=say(rng, *words, name=record.title, to=chat.title), wants=(want,))

    return make


def impossible_record(app: str, *words: str) -> Make:
    """Asks for a record that does not exist."""

    def make(rng: random.Random, data: Data) -> Plan:
        name = new_name(rng, data, app)
        page, group = root_of(app), ""
        if APPS[app].record.groups:
            group = rng.choice(data[app].groups)
            page = ("group", group)
        goal = say(rng, *words, name=name, group=group)
        return Plan(goal=goal, wants=(LookFor(app, page, name),))

    return make


def impossible_setting(rng: random.Random, data: Data) -> Plan:
    """Asks for a switch that does not exist on a page of Settings."""
    label, page = rng.choice(vocab.ABSENT_OPTIONS), rng.choice(list(APPS["Settings"].options))
    goal = say(rng, "Turn on {label} on the {page} page in Settings.",
               "In Settings turn on {label} on the {page} page.",
               label=label, page=page)
    return Plan(goal=goal, wants=(LookFor("Settings", ("options", page), label),))


def _template(name: str, apps: tuple[str, ...], make: Make, **extra: object) -> TaskTemplate:
    return TaskTemplate(name=name, level=3, apps=apps, make=make, **extra)


TEMPLATES = (
    _template("event_new", ("Calendar",), event_new),
    _template("contact_new", ("Contacts",), contact_new),
    _template("shop_buy", ("Shop",), shop_buy),
    _template("two_toggles", ("Settings",), two_toggles),
    _template("alarm_and_setting", ("Clock", "Settings"), alarm_and_setting),
    _template("chat_code_to_note", ("Messages", "Notes"),
              read_to_new("Messages", "Last", "Notes", "Save the code from \"{name}\" in Messages as a new note.",
                          "Read the code in the chat \"{name}\" and add it as a note.", kind="code")),
    _template("mail_buy_to_task", ("Mail", "Tasks"),
              read_to_new("Mail", "Text", "Tasks", "Add what to buy from the mail of \"{name}\" as a new task.",
                          "Read what \"{name}\" wants to buy in Mail and add it as a task.", kind="buy")),
    _template("chat_time_to_alarm", ("Messages", "Clock"),
              read_to_new("Messages", "Last", "Clock", "Add an alarm for the time from \"{name}\" in Messages.",
                          "Read the time in the chat \"{name}\" and add it as an alarm.", kind="meet at")),
    _template("price_to_note", ("Shop", "Notes"),
              read_to_new("Shop", "Price", "Notes", "Save the price of \"{name}\" in Shop as a new note.",
                          "Read the price of \"{name}\" and add it as a note.")),
    _template("phone_to_message", ("Contacts", "Messages"),
              read_to_message("Contacts", "Phone", "Send the phone of the contact \"{name}\" to \"{to}\".",
                              "Read the phone of \"{name}\" in Contacts and send it to \"{to}\".")),
    _template("contact_missing", ("Contacts",),
              impossible_record("Contacts", "Delete the contact \"{name}\".", "Favorite the contact \"{name}\"."),
              is_impossible=True, sizes={"Contacts": 11}),
    _template("note_missing", ("Notes",),
              impossible_record("Notes", "Pin the note \"{name}\".", "Delete the note \"{name}\"."),
              is_impossible=True),
    _template("file_missing", ("Files",),
              impossible_record("Files", "Star the file \"{name}\" in {group}.",
                                "Delete the file \"{name}\" in {group}."),
              is_impossible=True),
    _template("setting_missing", ("Settings",), impossible_setting, is_impossible=True),
)
