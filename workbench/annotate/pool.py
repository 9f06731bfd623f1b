"""Documents and changes as the store holds them: steps and screens' descriptions once each, by the hash of their text.

A revision is a short text that names its steps, so it costs what was changed in it, and a step costs no second copy of
the elements on its screen. Steps of drafts that were dropped stay too: nothing is ever taken out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from executors.errors import InputError
from workbench.annotate.document import FIELDS, Change, Document, DocumentStep
from workbench.screens import SCREENS


def put_document(db: Database, document: Document) -> str:
    """Stores the document's steps and returns the text that `get_document` reads."""
    fields = {name: getattr(document, name) for name in FIELDS}
    return json.dumps({"fields": fields, "steps": [[step.key, _put_step(db, step)] for step in document.steps]})


def get_document(db: Database, text: str, root: Path, what: str) -> Document:
    """The document of a `put_document` text, its screenshots below `root`.

    Raises:
        InputError: the text or a step of it is damaged; the message begins with `what`.
    """
    try:
        record = json.loads(text)
        found = _get_steps(db, [step for _, step in record["steps"]])
        steps = tuple(DocumentStep.from_json(key, found[step], root) for key, step in record["steps"])
        return Document(**record["fields"], steps=steps)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{what} is damaged ({type(error).__name__}: {error}): choose another revision") from None


def put_change(db: Database, change: Change) -> str:
    """Stores the change's steps and returns the text that `get_change` reads."""
    return json.dumps(change.to_json(lambda step: _put_step(db, step)))


def get_change(db: Database, text: str, root: Path) -> Change:
    """The change of a `put_change` text; raises InputError when it is damaged."""
    try:
        record = json.loads(text)
        found = _get_steps(db, [step for pair in record["steps"].values() for step in pair if step is not None])
        return Change.from_json(record, lambda key, step: DocumentStep.from_json(key, found[step], root))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"this edit is damaged ({type(error).__name__}: {error}): begin the draft anew") from None


def _put_step(db: Database, step: DocumentStep) -> str:
    path = step.step.observation.image_path
    # a step names its screenshot and does not hold it, so it must lie in the store by now
    assert step.step.observation.image is None and (path is None or path.parent.name == SCREENS)
    record = step.to_json()
    record["step"]["observation"] = _put(db, record["step"]["observation"])
    return _put(db, record)


def _put(db: Database, record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    db.execute("insert or ignore into annotation_steps (hash, record) values (?, ?)", [name, text])
    return name


def _get_steps(db: Database, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Step records by hash, each with its observation."""
    steps = _get(db, names)
    screens = _get(db, {record["step"]["observation"] for record in steps.values()})
    for record in steps.values():
        record["step"]["observation"] = screens[record["step"]["observation"]]
    return steps


def _get(db: Database, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    found = db.execute(
        "select hash, record from annotation_steps where hash in (select value from json_each(?))",
        [json.dumps(sorted(set(names)))],
    )
    return {name: json.loads(record) for name, record in found}
