"""Named configs: a stage's settings under a name, kept as YAML files in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        raise NotImplementedError

    def save(self, config: NamedConfig, *, replace: bool = False) -> None:
        """Keeps a config; raises InputError when the name is taken and `replace` is False, or a value is wrong."""
        raise NotImplementedError

    def load(self, name: str) -> NamedConfig:
        """The config of this name; raises MissingFileError or InputError."""
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Removes it; raises MissingFileError when there is none."""
        raise NotImplementedError


def difference(stage: str, values: dict[str, Any], preset: str, seed: int = 0) -> list[tuple[str, Any, Any]]:
    """(dotted key, preset's value, this value) of every setting that is other than the preset's."""
    raise NotImplementedError
