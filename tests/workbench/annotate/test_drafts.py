"""Drafts: every edit is stored, undo and redo survive a new process, and a second window is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from executors.errors import InputError, MissingFileError
from tests.workbench.annotate.makers import random_change, way
from tests.workbench.annotate.test_store import add_revision, people
from workbench.annotate import edits
from workbench.annotate.document import StaleError
from workbench.annotate.drafts import Drafts
from workbench.annotate.store import AnnotationStore, Project
from workbench.people import Role, RoleError


@pytest.fixture
def id(store: AnnotationStore, project: Project) -> str:
    """A stored trajectory."""
    return store.add(project, way(), why="imported")


def test_undo_and_redo_lead_through_all_edits_also_in_another_process(store: AnnotationStore, id: str) -> None:
    rng, draft = random.Random(1), Drafts(store).open(id, "ada")
    states = [draft.document]
    while len(states) < 25:
        change = random_change(draft.document, rng)
        if change is not None and not change.is_empty:
            draft = Drafts(store).edit(draft, change)
            states.append(draft.document)
    for act, wanted in ((Drafts.undo, states[-2::-1]), (Drafts.redo, states[1:])):
        for state in wanted:
            drafts = Drafts(AnnotationStore(store.root))  # nothing is held in memory
            assert act(drafts, drafts.find(id, "ada")).document == state
            drafts.store.close()


def test_an_edit_after_an_undo_drops_what_could_be_redone(store: AnnotationStore, id: str) -> None:
    drafts = Drafts(store)
    draft = drafts.open(id, "ada")
    for goal in ("one", "two", "three"):
        draft = drafts.edit(draft, edits.set_goal(draft.document, goal))
    draft = drafts.undo(drafts.undo(draft))
    assert (draft.document.goal, draft.undo_note, draft.redo_note) == ("one", "goal set", "goal set")
    draft = drafts.edit(draft, edits.set_goal(draft.document, "other"))
    assert draft.redo_note is None
    with pytest.raises(InputError, match="nothing to redo"):
        drafts.redo(draft)
    assert drafts.undo(draft).document.goal == "one"


def test_a_second_window_is_told_and_loses_nothing(store: AnnotationStore, id: str) -> None:
    drafts = Drafts(store)
    old = drafts.open(id, "ada")
    new = drafts.edit(old, edits.set_goal(old.document, "new"))
    for act in (lambda: drafts.edit(old, edits.set_goal(old.document, "old")), lambda: drafts.undo(old),
                lambda: drafts.discard(old)):
        with pytest.raises(StaleError, match="another window"):
            act()
    assert drafts.open(id, "ada") == new


def test_each_person_has_a_draft_and_the_revision_stays(store: AnnotationStore, id: str) -> None:
    drafts = Drafts(store)
    ada, bob = (drafts.open(id, name) for name in ("ada", "bob"))
    drafts.edit(ada, edits.set_goal(ada.document, "hers"))
    assert drafts.open(id, "bob") == bob and store.load(id).goal == way().goal
    drafts.discard(bob)
    assert drafts.find(id, "bob") is None
    with pytest.raises(MissingFileError, match="draft is gone"):
        drafts.edit(bob, edits.set_goal(bob.document, "x"))
    with pytest.raises(InputError, match="nothing to undo"):
        drafts.undo(drafts.open(id, "bob"))


def test_joining_with_a_newer_revision_is_an_edit_that_can_be_undone(store: AnnotationStore, id: str) -> None:
    drafts = Drafts(store)
    mine = drafts.open(id, "ada")
    mine = drafts.edit(mine, edits.set_goal(mine.document, "mine"))
    add_revision(store, id, 2)
    with pytest.raises(StaleError, match="not the newest"):
        drafts.rebase(mine, store.load(id), 1)
    joined = drafts.rebase(mine, store.load(id), 2)
    assert (joined.base, joined.document) == (2, store.load(id))
    back = drafts.undo(joined)
    assert (back.base, back.document) == (1, mine.document)
    assert drafts.redo(back).base == 2


def test_a_change_that_is_refused_leaves_the_draft(store: AnnotationStore, id: str) -> None:
    drafts = Drafts(store)
    draft = drafts.open(id, "ada")
    deletes = [edits.delete_step(draft.document, key) for key in draft.document.keys[:2]]
    draft = drafts.edit(draft, deletes[0])
    with pytest.raises(StaleError):
        drafts.edit(draft, deletes[1])
    assert drafts.find(id, "ada") == draft


def test_a_viewer_has_no_draft(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path, people(vera=Role.VIEWER, rita=Role.REVIEWER))
    id = store.add(store.add_project("p", person="rita"), way(), why="w", person="rita")
    with pytest.raises(RoleError, match="may not edit"):
        Drafts(store).open(id, "vera")
