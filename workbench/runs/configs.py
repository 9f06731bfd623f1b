"""Named configs: a stage's settings under a name, kept as YAML files in one folder, and what differs from a preset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from executors.errors import InputError, MissingFileError, OutputError
from executors.files import partial_path
from training.config import STAGES
from training.config_reading import from_dict, to_dict
from training.presets import get_preset
from workbench.runs.draft import changes, check_name


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedConfig:
    """Settings that were saved: the config of a stage, and the preset they began as (empty for none)."""

    name: str
    stage: str
    values: dict[str, Any]
    preset: str = ""


class ConfigShelf:
    """The named configs of one folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when the first config is saved."""
        self.folder = folder

    def names(self) -> list[str]:
        """The names there are, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def save(self, config: NamedConfig, *, replace: bool = False) -> None:
        """Keeps a config; it must be one that could be launched.

        Raises:
            InputError: the name is taken and `replace` is False, or the name or a setting is not allowed.
            OutputError: the folder cannot be written.
        """
        path = self._path(config.name)
        checked = to_dict(from_dict(_stage_class(config.stage), config.values))
        if path.exists() and not replace:
            raise InputError(f"config {config.name!r} exists: choose another name, or replace it")
        record = {"stage": config.stage, "preset": config.preset, "settings": checked}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = partial_path(path)
            partial.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write config {path} ({error.strerror or error}): check the folder") from None

    def load(self, name: str) -> NamedConfig:
        """The config of this name.

        Raises:
            MissingFileError: there is none.
            InputError: the file is damaged, or holds a setting that is not allowed.
        """
        path = self._path(name)
        try:
            record = yaml.safe_load(path.read_text(encoding="utf-8"))
            stage, preset, values = record["stage"], record.get("preset", ""), record["settings"]
        except OSError:
            raise MissingFileError(f"config {name!r} does not exist: choose one of those saved") from None
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            raise InputError(f"config file {path} is damaged: mend or delete it") from None
        try:
            checked = to_dict(from_dict(_stage_class(stage), values))
        except InputError as error:
            raise InputError(f"config file {path}: {error}") from None
        return NamedConfig(name=name, stage=stage, values=checked, preset=str(preset))

    def delete(self, name: str) -> None:
        """Removes it; raises MissingFileError when there is none."""
        try:
            self._path(name).unlink()
        except OSError:
            raise MissingFileError(f"config {name!r} does not exist: choose one of those saved") from None

    def _path(self, name: str) -> Path:
        return self.folder / f"{check_name(name)}.yaml"


def _stage_class(stage: Any) -> type:
    if stage not in STAGES:
        raise InputError(f"stage {stage!r} is unknown: choose one of {', '.join(STAGES)}")
    return STAGES[stage]


def difference(stage: str, values: dict[str, Any], preset: str, seed: int = 0) -> list[tuple[str, Any, Any]]:
    """(dotted key, preset's value, this value) of every setting that is other than the preset's.

    Raises:
        InputError: the preset is unknown or has no such stage.
    """
    before = preset_values(preset, stage, seed)
    return [(key, _at(before, key), value) for key, value in changes(before, values).items()]


def preset_values(preset: str, stage: str, seed: int = 0) -> dict[str, Any]:
    """The settings that a preset has for a stage, nested and plain.

    Raises:
        InputError: the preset is unknown or has no such stage.
    """
    config = getattr(get_preset(preset, seed), stage, None)
    if config is None:
        raise InputError(f"preset {preset!r} has no stage {stage!r}: choose another stage or preset")
    return to_dict(config)


def _at(values: Any, dotted: str) -> Any:
    """The value under a dotted key; None where there is no such group."""
    for key in dotted.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
