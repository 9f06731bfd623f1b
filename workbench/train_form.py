"""The launch form, made of the config dataclasses: every setting with its label, help, range and kind of input.

Nothing about a setting is written here. Names, kinds and defaults come from the dataclass, the help from the string
literal under the field, and what is allowed from the config itself: it is asked with a value that cannot be right and
answers in the words that a person would get.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from executors.errors import InputError, WorkbenchError
from training.config import STAGES, field_docs
from training.config_reading import from_dict, to_dict
from workbench.screen import safe_text

_ALLOWED = re.compile(r"is not allowed: give (.+)$", re.DOTALL)
_UNIT = re.compile(r"(?:\.\.|at least )[\d.-]+ (\w+)$")
_IMPOSSIBLE: dict[type, tuple[Any, ...]] = {int: (-(10**18), 10**18), float: (-1e300, 1e300), str: ("\0",), bool: ()}
"""Values that no setting of this kind can have, if it has a limit at all."""
MAX_TEXT_LENGTH = 4096
"""Longest value that the form takes, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One setting: its dotted key, kind, default, help, and what is allowed.

    `allowed` is in words and empty where any value of the kind is right; `unit` is its last word where it names one.
    `choices` is empty for free text.
    """

    key: str
    kind: type
    default: Any
    help: str
    allowed: str = ""
    choices: tuple[str, ...] = ()
    unit: str = ""
    is_required: bool = False

    @property
    def label(self) -> str:
        """The field's name as words.

        >>> FormField(key="optim.num_steps", kind=int, default=1, help="").label
        'Number of steps'
        """
        words = self.key.rpartition(".")[2].replace("_", " ")
        if words.startswith("num "):
            words = f"number of {words.removeprefix('num ')}"
        return words[0].upper() + words[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormGroup:
    """Settings that stand together; `key` is empty for those of the stage itself.

    An optional group may be left out as a whole, which its `help` explains.
    """

    key: str
    help: str
    fields: tuple[FormField, ...]
    is_optional: bool = False

    @property
    def label(self) -> str:
        """The group's name as words."""
        return self.key.replace("_", " ").capitalize() or "Start"


@cache
def form_groups(stage: str) -> tuple[FormGroup, ...]:
    """The groups of a stage's settings, those of the stage itself first.

    Args:
        stage: a key of `training.config.STAGES`.

    Raises:
        InputError: there is no such stage.
    """
    if stage not in STAGES:
        raise InputError(f"stage {stage!r} is unknown: choose one of {', '.join(STAGES)}")
    cls = STAGES[stage]
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    own, groups = [], []
    for item in dataclasses.fields(cls):
        kind, is_optional = _plain_kind(hints[item.name])
        if dataclasses.is_dataclass(kind):
            fields = tuple(_form_field(kind, inner, f"{item.name}.") for inner in dataclasses.fields(kind))
            help_text = docs.get(item.name, "")
            groups.append(FormGroup(key=item.name, help=help_text, fields=fields, is_optional=is_optional))
        else:
            own.append(_form_field(cls, item, ""))
    return (FormGroup(key="", help=(cls.__doc__ or "").strip(), fields=tuple(own)), *groups)


def _plain_kind(hint: Any) -> tuple[type, bool]:
    """(the kind without None, whether None is allowed)."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        return next(o for o in options if o is not type(None)), type(None) in options
    return hint, False


def _form_field(cls: type, item: dataclasses.Field, prefix: str) -> FormField:
    kind, _ = _plain_kind(typing.get_type_hints(cls)[item.name])
    is_required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    allowed = next((words for bad in _IMPOSSIBLE[kind] if (words := _refusal(cls, item.name, bad))), "")
    return FormField(
        key=prefix + item.name,
        kind=kind,
        default="" if is_required else item.default,
        help=field_docs(cls).get(item.name, ""),
        allowed=allowed,
        choices=_choices(cls, item.name, allowed) if kind is str else (),
        unit=_unit(allowed) if kind is not str else "",
        is_required=is_required,
    )


def _refusal(cls: type, name: str, value: Any) -> str:
    """What the config says is allowed when it is given this value; empty when it takes it."""
    required = {
        f.name: "any" for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    try:
        cls(**{**required, name: value})
    except InputError as error:
        found = _ALLOWED.search(str(error))
        return found.group(1) if found else ""
    except (ArithmeticError, TypeError, ValueError):
        return ""
    return ""


def _choices(cls: type, name: str, allowed: str) -> tuple[str, ...]:
    """The words of `allowed` when the config takes each of them: "constant, linear or cosine" are three."""
    words = tuple(w for w in re.split(r", | or ", allowed.removeprefix("one of ")) if w)
    return words if len(words) > 1 and not any(_refusal(cls, name, word) for word in words) else ()


def _unit(allowed: str) -> str:
    """The unit that the words name, in the plural; empty when they name none.

    >>> _unit("1..32 steps"), _unit("at least 1 step"), _unit("0..1")
    ('steps', 'steps', '')
    """
    found = _UNIT.search(allowed)
    return found.group(1).removesuffix("s") + "s" if found else ""


# ---------------------------------------------------------------- values


def flatten(config: Any) -> dict[str, Any]:
    """A config as dotted keys; a group that is left out is one key with None."""
    return flatten_values(to_dict(config))


def flatten_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested plain values as dotted keys.

    >>> flatten_values({"model": "m", "optim": {"seed": 3}, "forecast": None})
    {'model': 'm', 'optim.seed': 3, 'forecast': None}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


def known_values(stage: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values whose keys the stage has; a browser may have kept a form of another version."""
    groups = form_groups(stage)
    known = {field.key for group in groups for field in group.fields} | {g.key for g in groups if g.is_optional}
    return {key: value for key, value in values.items() if key in known}


def read_form(stage: str, values: Mapping[str, Any]) -> Any:
    """The config of what was typed: dotted keys to text (or booleans).

    Args:
        stage: a key of `training.config.STAGES`.
        values: only keys of the stage; an optional group that is left out has its name with None.

    Raises:
        InputError: an unknown key, a value that is no text or too long, or one the config refuses.
    """
    known = {field.key: field for group in form_groups(stage) for field in group.fields}
    optional = {group.key for group in form_groups(stage) if group.is_optional}
    nested: dict[str, Any] = {}
    for key, value in values.items():
        if key in optional and value is None:
            nested[key] = None
            continue
        if key not in known:
            from_dict(STAGES[stage], _nest({str(key): value}))  # tells the nearest known key
            raise InputError(f"config field '{key}' cannot be set here: leave it out")
        group, _, name = key.rpartition(".")
        target = nested
        if group:
            if nested.get(group) is None and group in nested:
                continue
            target = nested.setdefault(group, {})
        target[name] = _value(known[key], value)
    return from_dict(STAGES[stage], nested)


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        if name:
            nested.setdefault(group, {})[name] = value
        else:
            nested[group] = value
    return nested


def _value(field: FormField, value: Any) -> Any:
    """The typed text as the field's kind; text that is no number is passed on, so that the config refuses it."""
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    if len(value) > MAX_TEXT_LENGTH:
        raise InputError(f"config field '{field.key}': {len(value)} characters are too many, at most {MAX_TEXT_LENGTH}")
    if field.kind is str:
        return value
    try:
        return field.kind(value.strip())
    except ValueError:
        return value


def show_value(value: Any) -> str:
    """A value as it is written in a YAML file.

    >>> show_value(1e-06), show_value(True), show_value(""), show_value(None)
    ('1e-06', 'true', "''", 'left out')
    """
    if value is None:
        return "left out"
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, width=10_000).removesuffix("...\n").strip()


# ---------------------------------------------------------------- HTML


def render_form(stage: str, values: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """The form's groups; each input knows the value that counts as unchanged.

    Args:
        stage: a key of `training.config.STAGES`.
        values: dotted keys to what is shown: values, or text as it was typed, right or wrong.
        base: dotted keys to the preset's values.
    """
    return "".join(_render_group(group, values, base) for group in form_groups(stage))


def _render_group(group: FormGroup, values: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    is_out = group.is_optional and values.get(group.key, "") is None
    rows = "".join(_render_field(field, values, base) for field in group.fields)
    leave_out = ""
    if group.is_optional:
        preset = "true" if base.get(group.key, "") is None else "false"
        leave_out = (
            f'<label class="tr-leave"><input type="checkbox" data-group="{group.key}" data-preset="{preset}"'
            f'{" checked" if is_out else ""}> Leave out: use what the start checkpoint says</label>'
        )
    is_open = " open" if group.key in ("", "optim") else ""
    return (
        f'<details class="tr-group" data-name="{group.key or "start"}"{is_open}><summary><span>{group.label}</span>'
        f'<span class="tr-changes" aria-live="polite"></span></summary>'
        f'<p class="tr-help">{safe_text(group.help)}</p>{leave_out}'
        f'<fieldset class="tr-fields"{" disabled" if is_out else ""}>{rows}</fieldset></details>'
    )


def _render_field(field: FormField, values: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    value = values.get(field.key, field.default)
    preset = _text(base.get(field.key, field.default))
    ident = "tr-f-" + field.key.replace(".", "-")
    limits = f'<span class="tr-range">{safe_text(field.allowed)}</span>' if field.allowed and not field.choices else ""
    return (
        f'<div class="tr-field" data-key="{field.key}"><label for="{ident}">{safe_text(field.label)}'
        f'<code>{field.key}</code></label>{_input(field, ident, value, preset)}'
        f'<button type="button" class="tr-reset" data-reset="{field.key}" hidden '
        f'title="Back to the preset: {safe_text(preset or "empty", 80)}" '
        f'aria-label="{safe_text(field.label)}: back to the preset">↺</button>'
        f'<p class="tr-help" id="{ident}-help">{safe_text(field.help)} {limits}</p></div>'
    )


def _input(field: FormField, ident: str, value: Any, preset: str) -> str:
    shared = f'id="{ident}" name="{field.key}" data-preset="{safe_text(preset, MAX_TEXT_LENGTH)}"' \
        f' aria-describedby="{ident}-help"'
    if field.kind is bool:
        return f'<input type="checkbox" {shared}{" checked" if value is True else ""}>'
    text = _text(value)
    if field.choices:
        options = "".join(
            f'<option{" selected" if choice == text else ""}>{safe_text(choice)}</option>' for choice in field.choices
        )
        return f"<select {shared}>{options}</select>"
    attributes = ' inputmode="decimal"' if field.kind in (int, float) else ' spellcheck="false"'
    attributes += " required" if field.is_required else ""
    unit = f'<span class="tr-unit">{safe_text(field.unit)}</span>' if field.unit else ""
    number = " tr-number" if field.kind in (int, float) else ""
    return (
        f'<span class="tr-input{number}"><input type="text" autocomplete="off" {shared}{attributes} '
        f'value="{safe_text(text, MAX_TEXT_LENGTH)}">{unit}</span>'
    )


def _text(value: Any) -> str:
    """A value as an input shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"
    return "" if value is None else str(value)


def named_key(error: WorkbenchError) -> str:
    """The key of the setting that an error names; empty when it names none.

    >>> named_key(InputError("config field 'optim.num_steps': 'ten' is not a whole number"))
    'optim.num_steps'
    """
    found = re.search(r"config field '([\w.]+)'", str(error))
    return found.group(1) if found else ""
