"""What can be told before a run is launched, each check with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.runs.draft import Draft


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check: `level` is "ok", "warning" or "error" (a draft with an error is not launched)."""

    name: str
    level: str
    reason: str
    detail: str = ""
    """More lines, such as the arithmetic of an estimate; often empty."""


def check_draft(draft: Draft) -> list[Check]:
    """All checks of a draft, in the order in which a person reads them."""
    return []
