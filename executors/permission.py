"""Whether this process may drive real devices at all: not unless a person said so, and never in a Space."""

from __future__ import annotations

import os

from executors.errors import InputError

_permission = {"is_given": False}


def allow_real_devices() -> None:
    """Permits real devices in this process; called where a person started it with the flag that says so.

    Raises:
        InputError: this is a Hugging Face Space (SPACE_ID is set), which strangers use.
    """
    _refuse_in_space()
    _permission["is_given"] = True


def forbid_real_devices() -> None:
    """Takes the permission back; devices that are open stay open."""
    _permission["is_given"] = False


def check_permission() -> None:
    """Raises InputError where real devices are not permitted."""
    _refuse_in_space()
    if not _permission["is_given"]:
        raise InputError("real devices are off: start the program with --allow-real-devices")


def _refuse_in_space() -> None:
    if os.environ.get("SPACE_ID"):
        raise InputError("a Hugging Face Space never drives real devices: run the workbench on your own machine")
