"""What run.json tells of how a run was made, and what no record keeps: secrets."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

RUN_SCHEMA_VERSION = 1
_PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "tokenizers", "numpy", "pillow")
_SECRET_NAME = re.compile(r"(^|[_.-])(api_?key|key|secret|password|passwd|token)$", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
_REMOVED = "removed"


def run_record(stage: str, command: Sequence[str], seed: int) -> dict[str, Any]:
    """run.json of a new run: stage, command, seed, versions, platform, revision; without `process_record`."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "stage": stage,
        "created": time.time(),
        "command": scrubbed_command(command),
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "git_revision": _git_revision(),
    }


def process_record() -> dict[str, Any]:
    """Which process writes the run, of how many, and the name that whoever launched it gave the start."""
    return {
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "num_processes": int(os.environ.get("WORLD_SIZE", "1")),
        "launch": os.environ.get("TRACER1_LAUNCH", ""),
    }


def _git_revision() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or not a checkout: an installed package
    return done.stdout.strip() or None


def without_secrets(value: Any, name: str = "") -> Any:
    """The nested plain value with "removed" for what is named as a secret and for logins in addresses.

    >>> without_secrets({"api_key": "k", "server": "http://me:pw@host/v1"})
    {'api_key': 'removed', 'server': 'http://removed@host/v1'}
    """
    if isinstance(value, dict):
        return {key: without_secrets(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item, name) for item in value]
    if isinstance(value, str) and value and _SECRET_NAME.search(name):
        return _REMOVED
    return _URL_LOGIN.sub(f"{_REMOVED}@", value) if isinstance(value, str) else value


def lost_logins(values: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """The dotted keys of a run's config whose address had a login, which config.yaml does not keep.

    >>> list(lost_logins({"model": "m", "grpo": {"vllm_server": "http://removed@host:8000"}}))
    ['grpo.vllm_server']
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from lost_logins(value, f"{place}{key}.")
        elif isinstance(value, str) and f"://{_REMOVED}@" in value:
            yield f"{place}{key}"


def scrubbed_command(command: Sequence[str]) -> list[str]:
    """The command line with the values of secret `name=value` pairs and logins in addresses removed."""
    scrubbed = []
    for word in command:
        name, sep, value = word.partition("=")
        scrubbed.append(f"{name}{sep}{without_secrets(value, name)}" if sep else str(without_secrets(word)))
    return scrubbed
