"""Why a record, or the rest of it, is left out."""

from __future__ import annotations


class Skip(Exception):
    """Leaves a record or a step with the reason that is counted, the field at fault and what is wrong with it.

    An empty field means that nothing is wrong: the record was not asked for.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(reason, field, message)
        self.reason = reason
        self.field = field
        self.message = message
