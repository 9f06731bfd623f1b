"""Held-out templates: other tasks in trained apps (task_unseen) and tasks in apps never trained on (app_unseen)."""

from __future__ import annotations

import random

from executors.simulator.apps import APPS
from executors.simulator.goals import Delete, SetTag
from executors.simulator.state import Data
from executors.simulator.tasks.base import Plan, TaskTemplate, pick, say
from executors.simulator.tasks.long import impossible_record, read_to_message
from executors.simulator.tasks.short import Make, create, delete, flag, flag_words, move, slide, toggle


def two_alarms(rng: random.Random, data: Data) -> Plan:
    """Turns two alarms on."""
    first, second = rng.sample(data["Clock"].records[:4], 2)
    first.tags, second.tags = set(), set()
    goal = say(rng, "Turn on the alarm \"{a}\" and the alarm \"{b}\".",
               "Switch on the \"{a}\" alarm and the \"{b}\" alarm.",
               a=first.title, b=second.title)
    return Plan(goal=goal, wants=tuple(SetTag("Clock", r.id, "on", True, "row") for r in (first, second)))


def two_deleted(rng: random.Random, data: Data) -> Plan:
    """Deletes two events."""
    first, second = rng.sample(data["Calendar"].records[:4], 2)
    goal = say(rng, "Delete the event \"{a}\" and the event \"{b}\".", a=first.title, b=second.title)
    return Plan(goal=goal, wants=tuple(Delete("Calendar", r.id) for r in (first, second)))


def restore_mail(rng: random.Random, data: Data) -> Plan:
    """Takes a mail out of the archive."""
    for record in rng.sample(data["Mail"].records, 2):
        record.tags = {"archived"}
    record = pick(rng, data, "Mail", with_tag="archived")
    goal = say(rng, "Restore the mail from \"{name}\" in Archive.", "In Mail restore \"{name}\" from Archive.",
               name=record.title)
    return Plan(goal=goal, wants=(SetTag("Mail", record.id, "archived", False),))


def _unseen(kind: str, name: str, level: int, apps: tuple[str, ...], make: Make, **extra: object) -> TaskTemplate:
    return TaskTemplate(name=name, level=level, apps=apps, make=make, kind=kind, **extra)


def _task(name: str, level: int, app: str, make: Make, **extra: object) -> TaskTemplate:
    return _unseen("task_unseen", name, level, (app,), make, **extra)


def _app(name: str, level: int, app: str, make: Make, **extra: object) -> TaskTemplate:
    return _unseen("app_unseen", name, level, (app,), make, **extra)


_FAVORITE, _MUTE = APPS["Music"].record.menu_flags[0], APPS["Messages"].record.menu_flags[0]

TEMPLATES = (
    _task("task_delete", 2, "Tasks", delete("Tasks", via="menu")),
    _task("mail_delete", 2, "Mail", delete("Mail", via="detail")),
    _task("chat_mute", 2, "Messages", flag("Messages", "muted", *flag_words(_MUTE, "chat", "Messages"), via="menu")),
    _task("note_unpin", 2, "Notes",
          flag("Notes", "pinned", "Unpin the note \"{name}\".", "Unpin \"{name}\" in Notes.", via="menu", value=False)),
    _task("clock_toggle", 2, "Clock", toggle("Clock")),
    _task("mail_restore", 2, "Mail", restore_mail),
    _task("alarm_on_two", 2, "Clock", two_alarms),
    _task("event_delete_two", 3, "Calendar", two_deleted),
    _unseen("task_unseen", "event_time_to_message", 3, ("Calendar", "Messages"),
            read_to_message("Calendar", "Time", "Send the time of the event \"{name}\" to \"{to}\".",
                            "Read the time of \"{name}\" in Calendar and send it to \"{to}\".")),
    _task("task_missing", 3, "Tasks",
          impossible_record("Tasks", "Mark the task \"{name}\" as done.", "Delete the task \"{name}\"."),
          is_impossible=True),
    _app("music_toggle", 2, "Music", toggle("Music")),
    _app("music_slider", 2, "Music", slide("Music")),
    _app("song_favorite", 2, "Music",
         flag("Music", "favorite", *flag_words(_FAVORITE, "song", "Music"), via="detail")),
    _app("song_delete", 2, "Music", delete("Music", via="menu")),
    _app("song_move_top", 2, "Music", move("Music", to_top=True)),
    _app("song_missing", 3, "Music",
         impossible_record("Music", "Favorite the song \"{name}\".", "Delete the song \"{name}\"."),
         is_impossible=True),
    _app("photo_favorite", 2, "Photos",
         flag("Photos", "favorite", "Favorite the photo \"{name}\" in {group}.",
              "In {group} favorite the photo \"{name}\".",
              via="menu", last=16)),
    _app("photo_delete", 2, "Photos", delete("Photos", via="menu", last=16)),
    _app("photo_new", 3, "Photos", create("Photos")),
    _app("photos_toggle_near", 1, "Photos", toggle("Photos", start="root")),
)
