"""Settings as plain values, and back: from a YAML file, from `--set key=value`, from the config.yaml of a run."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from executors.errors import InputError, MissingFileError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """The config as nested plain values, ready for YAML or JSON."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: dict[str, Any], place: str = "") -> T:
    """The config of nested plain values.

    Raises:
        InputError: an unknown key (with the nearest known one), a missing key or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise InputError(f"config field '{place.rstrip('.')}': {values!r} is not a group of settings")
    hints = typing.get_type_hints(cls)
    names = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    kwargs = {}
    for key, value in values.items():
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f"did you mean {place}{near[0]}?" if near else f"known here: {', '.join(names)}"
            raise InputError(f"config field '{place}{key}' does not exist: {hint}")
        kwargs[key] = _convert(hints[key], value, f"{place}{key}")
    for f in names.values():
        no_default = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if no_default and f.name not in kwargs:
            raise InputError(f"config field '{place}{f.name}' is missing: set it in the file or with --set")
    try:
        return cls(**kwargs)
    except InputError as error:  # its own check does not know which group it is
        raise InputError(str(error).replace("config field '", f"config field '{place}", 1)) from None


class _Typed(str):
    """A value as it was typed on a command line; what it is depends on the field."""


def _read_typed(text: _Typed, kind: Any) -> Any:
    import yaml

    if kind is str:
        return str(text)  # a path may look like a number, a date, a mapping, or null
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that there is not
        return str(text)
    return value if value is None or isinstance(value, (bool, int, float)) else str(text)


def _convert(hint: Any, value: Any, place: str) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kind = next(o for o in options if o is not type(None))
    if isinstance(value, _Typed):
        value = _read_typed(value, kind)
    if value is None and type(None) in options:
        return None
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else from_dict(kind, value, place + ".")
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            value = float(value)  # YAML 1.1 reads 1e-6 as text
        except (ValueError, OverflowError):
            pass
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"config field '{place}': {value!r} is not a finite number")
    if isinstance(value, int) and not isinstance(value, bool) and kind is str:
        return str(value)  # YAML reads a folder named 2024 as a number
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"config field '{place}': {value!r} is not {_KIND_WORDS.get(kind, kind.__name__)}")
    return value


_KIND_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def load_config(cls: type[T], path: Path | None, overrides: list[str]) -> T:
    """The config of a YAML file (or of nothing) with `key=value` overrides, keys dotted: `optim.num_steps=20`.

    Raises:
        MissingFileError: the file cannot be read.
        InputError: see `read_config`; an unknown key, a wrong value, or an override without "=".
    """
    values = {} if path is None else read_config(path)
    return from_dict(cls, with_changes(values, parse_overrides(overrides)))


def override(config: T, overrides: Mapping[str, Any]) -> T:
    """The config with dotted key -> value set in it, values as of `parse_overrides`; see `from_dict` for the errors.

    >>> from training.config import ForecastConfig
    >>> override(ForecastConfig(), {"horizon": 3}).horizon
    3
    """
    return from_dict(type(config), with_changes(to_dict(config), overrides))


def with_changes(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested plain values with dotted keys set.

    Raises:
        InputError: a key leads into a value that is not a group.

    >>> with_changes({"optim": {"seed": 0}}, {"optim.seed": 3})
    {'optim': {'seed': 3}}
    """
    changed = copy.deepcopy(dict(values))
    for key, value in changes.items():
        _set_dotted(changed, key, value)
    return changed


def read_config(path: Path) -> dict[str, Any]:
    """The nested plain values of a YAML file of settings; none of an empty file.

    Raises:
        MissingFileError: the file cannot be read.
        InputError: not YAML, a key given twice, or something else than a mapping.
    """
    import yaml

    try:
        values = _read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"cannot read config {path} ({error.strerror}): check the path") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date as 2024-13-45
        raise InputError(f"config {path} is not YAML ({' '.join(str(error).split())}): mend it") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"config {path} is not a mapping of settings: start it with lines such as 'model: PATH'")
    return values


def _read_yaml(text: str) -> Any:
    """The value of a YAML text; a key that is given twice is an error, of which yaml.safe_load keeps the last."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return yaml.load(text, Loader)


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Dotted key -> value of each "key=value"; the values are still text, which `from_dict` reads as the field's type.

    Raises:
        InputError: one without "=".
    """
    found = {}
    for override in overrides:
        key, sep, text = override.partition("=")
        if not sep or not key.strip():
            raise InputError(f"--set {override!r} is not key=value: write for example optim.num_steps=20")
        found[key.strip()] = _Typed(text)
    return found


def _set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for number, group in enumerate(groups, start=1):
        if values.get(group) is None:
            values[group] = {}
        elif not isinstance(values[group], dict):
            place = ".".join(groups[:number])
            raise InputError(f"config field '{place}': {values[group]!r} is not a group of settings")
        values = values[group]
    values[last] = value
