"""The tables of reference trajectories, as one migration of workbench.store."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.db import DescIndex

APPEND_ONLY = ("annotation_revisions", "annotation_steps", "annotation_datasets")
"""Tables whose rows are never changed or deleted; triggers hold that, whoever writes."""


def add_annotation_tables(db: Database) -> None:
    """Projects, trajectories and their revisions, drafts, tasks, reviews, comments and dataset revisions."""
    # `number` is SQLite's rowid under a name, so that VACUUM cannot renumber the rows that an index points to
    db["annotation_projects"].create(
        {"number": int, "id": str, "name": str, "guide": str, "second_share": float, "author": str, "created": str},
        pk="number",
    )
    for column in ("id", "name"):
        db["annotation_projects"].create_index([column], unique=True)
    db["annotation_trajectories"].create(
        {
            "number": int, "id": str, "project": str, "source_id": str, "source": str, "goal": str, "platform": str,
            "outcome": str, "difficulty": int, "num_steps": int, "num_errors": int, "num_warnings": int, "state": str,
            "revision": int, "origin": str, "created": str, "updated": str,
        },
        pk="number",
    )
    trajectories = db["annotation_trajectories"]
    trajectories.create_index(["id"], unique=True)
    trajectories.create_index(["project", "source_id"], unique=True)
    trajectories.create_index(["project"])  # each index ends with the row's number, so a page needs no sorting
    for column in ("state", "platform", "source", "outcome"):
        trajectories.create_index(["project", column])
    db.execute("CREATE INDEX annotation_trajectories_with_errors ON annotation_trajectories (project) "
               "WHERE num_errors > 0")
    trajectories.enable_fts(
        ["source_id", "goal", "source"], create_triggers=True, tokenize="unicode61 remove_diacritics 2"
    )
    db["annotation_revisions"].create(
        {
            "trajectory": str, "branch": str, "number": int, "parent_branch": str, "parent": int, "author": str,
            "why": str, "created": str, "changes": str, "record": str,
        },
        pk=("trajectory", "branch", "number"),
    )
    db["annotation_steps"].create({"hash": str, "record": str}, pk="hash")
    db["annotation_drafts"].create(
        {
            "trajectory": str, "person": str, "branch": str, "base": int, "version": int, "position": int,
            "updated": str, "record": str,
        },
        pk=("trajectory", "person"),
    )
    db["annotation_changes"].create(
        {
            "trajectory": str, "person": str, "number": int, "created": str, "change": str, "base_before": int,
            "base_after": int,
        },
        pk=("trajectory", "person", "number"),
    )
    db["annotation_tasks"].create(
        {
            "number": int, "trajectory": str, "project": str, "branch": str, "state": str, "priority": int,
            "annotator": str, "base": int, "submitted": int, "holder": str, "token": str, "lease_until": str,
            "created": str, "updated": str,
        },
        pk="number",
    )
    db["annotation_tasks"].create_index(["trajectory", "branch"], unique=True)
    for columns in (["state"], ["annotator", "state"], ["holder"]):
        db["annotation_tasks"].create_index(["project", *columns, DescIndex("priority"), "number"])
    db["annotation_reviews"].create(
        {
            "number": int, "task": int, "trajectory": str, "verdict": str, "revision": int, "annotator": str,
            "author": str, "note": str, "created": str,
        },
        pk="number",
    )
    db["annotation_reviews"].create_index(["task"])
    db["annotation_comments"].create(
        {
            "number": int, "trajectory": str, "branch": str, "revision": int, "step": str, "author": str, "text": str,
            "created": str, "resolved_by": str,
        },
        pk="number",
    )
    db["annotation_comments"].create_index(["trajectory"])
    db["annotation_datasets"].create(
        {
            "name": str, "project": str, "author": str, "why": str, "created": str, "fingerprint": str,
            "num_trajectories": int, "entries": str,
        },
        pk="name",
    )
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
