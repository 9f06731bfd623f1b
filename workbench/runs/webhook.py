"""Sending alerts to an address that a person gave; nothing is sent without one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from executors.errors import InputError
from workbench.runs.alerts import Alert

TIMEOUT_SECONDS = 5.0
_log = logging.getLogger(__name__)


def webhook(url: str) -> Callable[[str, Alert], None]:
    """What RunDesk calls for each new alert: posts it as JSON; an address that does not answer is logged, not raised.

    The JSON has run, kind, level, step, reason, and "text", the sentence that chat programs show.

    Raises:
        InputError: this is no http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"webhook {url!r} is not an address: give one such as https://example.org/hook")

    def send(run_id: str, alert: Alert) -> None:
        told = {"run": run_id, "kind": alert.kind, "level": alert.level, "step": alert.step, "reason": alert.reason}
        told["text"] = f"{alert.level}: run {run_id}, step {alert.step}: {alert.reason}"
        try:
            httpx.post(url, json=told, timeout=TIMEOUT_SECONDS).raise_for_status()
        except httpx.HTTPError as error:
            _log.warning("alert of run %s could not be sent to %s (%s)", run_id, parts.hostname, type(error).__name__)

    return send
