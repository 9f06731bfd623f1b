"""The apps, declared as data: their tabs, records, options and what can be done with a record.

Every app is the same small machine (lists, details, forms, options) with other words, so one engine and one oracle
serve them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from executors.simulator import vocab


@dataclass(frozen=True, slots=True)
class Flag:
    """A mark on a record: its tag as shown in lists, and the labels that set and clear it."""

    tag: str
    set_label: str
    clear_label: str


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field of a record: label, the pool its values come from, and whether it is chosen instead of typed."""

    label: str
    pool: tuple[str, ...]
    is_choice: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """A value on an options page: kind is "switch", "slider" (0..100 in tens) or "choice"."""

    kind: str
    label: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpec:
    """The records of an app; the first field is the unique title that lists show.

    `check_role` makes list rows toggles ("checkbox", "switch") that have no detail page. `menu_flags` are offered by
    the context menu of a row, `detail_flags` by the detail page.
    """

    noun: str
    fields: tuple[FieldSpec, ...]
    check_role: str = ""
    menu_flags: tuple[Flag, ...] = ()
    detail_flags: tuple[Flag, ...] = ()
    can_new: bool = True
    can_edit: bool = False
    can_delete: bool = True
    can_send: bool = False
    can_reorder: bool = False
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tab:
    """A root page: kind is "list", "groups", "options" or "menu"; a list shows only records with `tag`, if given,
    and none with `without`."""

    label: str
    kind: str = "list"
    tag: str = ""
    without: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """One app: its root tabs, its records, and its options pages by name (the name of a tab or of a menu row)."""

    name: str
    tabs: tuple[Tab, ...]
    record: RecordSpec | None = None
    options: dict[str, tuple[Setting, ...]]
    is_held_out: bool = False

    def setting(self, label: str) -> tuple[str, Setting]:
        """(options page, setting) of a setting's label."""
        return next((page, s) for page, settings in self.options.items() for s in settings if s.label == label)


def _switches(*labels: str) -> tuple[Setting, ...]:
    return tuple(Setting("switch", label) for label in labels)


_FAVORITE = Flag("favorite", "Favorite", "Unfavorite")
_PIN = Flag("pinned", "Pin", "Unpin")
_STAR = Flag("starred", "Star", "Unstar")
_MUTE = Flag("muted", "Mute", "Unmute")
_ARCHIVE = Flag("archived", "Archive", "Restore")
CART = Flag("in cart", "Add to cart", "Remove")
ORDERED = "ordered"

MESSAGES_TEXT = tuple(
    [f"code {c}" for c in vocab.CODES] + [f"meet at {t}" for t in vocab.TIMES] + [f"buy {p}" for p in vocab.PRODUCTS]
)

_SPECS = (
    AppSpec(
        name="Settings",
        tabs=(Tab("Settings", "menu"),),
        options={
            "Network": _switches("Wi-Fi", "Bluetooth", "Hotspot", "Airplane mode"),
            "Display": (
                *_switches("Dark mode", "Rotation", "Night light"),
                Setting("slider", "Brightness"),
                Setting("choice", "Font size", ("Small", "Medium", "Large")),
            ),
            "Sound": (
                *_switches("Vibration", "Key clicks"),
                Setting("slider", "Volume"),
                Setting("choice", "Ringtone", ("Bell", "Chime", "Drum")),
            ),
            "System": (
                *_switches("Location", "Auto update", "Backup"),
                Setting("choice", "Language", ("English", "German", "French")),
            ),
        },
    ),
    AppSpec(
        name="Contacts",
        tabs=(Tab("Contacts"),),
        options={},
        record=RecordSpec(
            noun="contact",
            fields=(FieldSpec("Name", vocab.PEOPLE), FieldSpec("Phone", vocab.CODES)),
            menu_flags=(_FAVORITE,),
            detail_flags=(_FAVORITE,),
            can_edit=True,
        ),
    ),
    AppSpec(
        name="Notes",
        tabs=(Tab("Notes"),),
        options={},
        record=RecordSpec(
            noun="note",
            fields=(FieldSpec("Title", (*vocab.THINGS, *vocab.CODES, *vocab.TIMES, *vocab.PRICES)),),
            menu_flags=(_PIN,),
            can_edit=True,
            can_reorder=True,
        ),
    ),
    AppSpec(
        name="Messages",
        tabs=(Tab("Messages"),),
        options={},
        record=RecordSpec(
            noun="chat",
            fields=(FieldSpec("Name", vocab.PEOPLE), FieldSpec("Last", MESSAGES_TEXT)),
            menu_flags=(_MUTE,),
            can_new=False,
            can_send=True,
        ),
    ),
    AppSpec(
        name="Tasks",
        tabs=(Tab("Tasks"),),
        options={},
        record=RecordSpec(
            noun="task", fields=(FieldSpec("Title", (*vocab.THINGS, *vocab.PRODUCTS)),), check_role="checkbox"
        ),
    ),
    AppSpec(
        name="Clock",
        tabs=(Tab("Alarms"), Tab("Options", "options")),
        options={"Options": _switches("Snooze", "Day view", "Loud bell")},
        record=RecordSpec(noun="alarm", fields=(FieldSpec("Time", vocab.TIMES),), check_role="switch"),
    ),
    AppSpec(
        name="Shop",
        tabs=(Tab("Products"), Tab("Cart", tag=CART.tag)),
        options={},
        record=RecordSpec(
            noun="product",
            fields=(FieldSpec("Name", vocab.PRODUCTS), FieldSpec("Price", vocab.PRICES)),
            detail_flags=(CART,),
            can_new=False,
            can_delete=False,
        ),
    ),
    AppSpec(
        name="Calendar",
        tabs=(Tab("Events"), Tab("Options", "options")),
        options={"Options": _switches("Week view", "Reminders", "Holidays")},
        record=RecordSpec(
            noun="event",
            fields=(
                FieldSpec("Title", vocab.EVENTS),
                FieldSpec("Day", vocab.DAYS, is_choice=True),
                FieldSpec("Time", vocab.TIMES),
            ),
            can_edit=True,
        ),
    ),
    AppSpec(
        name="Files",
        tabs=(Tab("Files", "groups"),),
        options={},
        record=RecordSpec(
            noun="file",
            fields=(FieldSpec("Name", vocab.THINGS),),
            menu_flags=(_STAR,),
            detail_flags=(_STAR,),
            can_edit=True,
            groups=vocab.FOLDERS,
        ),
    ),
    AppSpec(
        name="Mail",
        tabs=(Tab("Inbox", without="archived"), Tab("Archive", tag="archived")),
        options={},
        record=RecordSpec(
            noun="mail",
            fields=(FieldSpec("From", vocab.PEOPLE), FieldSpec("Text", MESSAGES_TEXT)),
            detail_flags=(_STAR, _ARCHIVE),
            can_new=False,
        ),
    ),
    AppSpec(
        name="Music",
        tabs=(Tab("Songs"), Tab("Options", "options")),
        options={
            "Options": (*_switches("Shuffle", "Repeat"), Setting("slider", "Volume"), Setting("slider", "Bass"))
        },
        record=RecordSpec(
            noun="song",
            fields=(FieldSpec("Title", vocab.THINGS), FieldSpec("Artist", vocab.PEOPLE)),
            menu_flags=(_FAVORITE,),
            detail_flags=(_FAVORITE,),
            can_new=False,
            can_reorder=True,
        ),
        is_held_out=True,
    ),
    AppSpec(
        name="Photos",
        tabs=(Tab("Albums", "groups"), Tab("Options", "options")),
        options={"Options": _switches("Backup", "Location", "Night light")},
        record=RecordSpec(
            noun="photo",
            fields=(FieldSpec("Name", vocab.THINGS), FieldSpec("Day", vocab.DAYS, is_choice=True)),
            menu_flags=(_FAVORITE,),
            detail_flags=(_FAVORITE,),
            can_edit=True,
            can_new=True,
            groups=vocab.ALBUMS,
        ),
        is_held_out=True,
    ),
)

APPS: dict[str, AppSpec] = {spec.name: spec for spec in _SPECS}
