"""Projects, trajectories, revisions: what goes in comes out, nothing is overwritten, and wrong values are refused."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from executors.errors import InputError, MissingFileError, OutputError
from executors.trajectory import Observation
from tests.workbench.annotate.makers import random_walk, way
from tests.workbench.episode_makers import oracle_way, store_way
from workbench.annotate import edits, revisions
from workbench.annotate.document import apply
from workbench.annotate.drafts import Drafts
from workbench.annotate.revisions import MAIN
from workbench.annotate.store import AnnotationStore, Project
from workbench.annotate.tables import APPEND_ONLY, add_annotation_tables
from workbench.episode_export import to_trajectory
from workbench.episode_store import EpisodeStore
from workbench.people import People, Role, RoleError, make_person
from workbench.store import FILE_NAME, MIGRATIONS, Store


def people(**roles: Role) -> People:
    """People with these roles."""
    return People(by_name={name: make_person(name, role, "a long password") for name, role in roles.items()})


def add_revision(store: AnnotationStore, id: str, number_of_edits: int, seed: int = 0) -> int:
    """A revision of random edits, made without the queue."""
    with store.file.writing() as db:
        number = revisions.head(db, id)
        before = revisions.read(db, store.root, id, "main", number)
        after, _ = random_walk(before, random.Random(seed), number_of_edits)
        return revisions.append(db, id, after, before=before, parent=("main", number), author="ada", why="mended")


def test_a_trajectory_comes_back_as_it_went_in(store: AnnotationStore, project: Project) -> None:
    id = store.add(project, way(), why="imported", origin={"kind": "test"})
    loaded = store.load(id).trajectory
    assert [s.observation.load_image().getpixel((0, 0)) for s in loaded.steps] == [
        s.observation.load_image().getpixel((0, 0)) for s in way().steps]
    unpathed = tuple(replace(s, observation=replace(s.observation, image_path=None)) for s in loaded.steps)
    assert replace(loaded, steps=unpathed) == way()
    row = store.row(id)
    assert (row.source_id, row.goal, row.num_steps, row.state, row.revision, row.origin) == (
        "t1", way().goal, 4, "waiting", 1, {"kind": "test"})


def test_equal_screens_are_stored_once(store: AnnotationStore, project: Project) -> None:
    for name in ("a", "b"):
        store.add(project, way(id=name), why="imported")
    assert len(list((store.root / "screens").glob("*.png"))) == 3
    assert len(list((store.root / "screens" / "small").iterdir())) == 3
    with store.file.reading() as db:
        assert db["annotation_steps"].count == 4 + 3  # four steps, three screens, for both


def test_a_revision_costs_what_was_changed(store: AnnotationStore, project: Project) -> None:
    id = store.add(project, way(), why="imported")
    with store.file.reading() as db:
        before = db["annotation_steps"].count
    draft = Drafts(store).open(id, "ada")
    Drafts(store).edit(draft, edits.set_instruction(draft.document, draft.document.keys[0], "press Save"))
    with store.file.reading() as db:
        assert db["annotation_steps"].count == before + 1


def test_any_revision_can_be_read_compared_and_restored(store: AnnotationStore, project: Project) -> None:
    id = store.add(project, way(), why="imported")
    for seed in range(3):
        add_revision(store, id, 3, seed)
    documents = [store.load(id, number) for number in (1, 2, 3, 4)]
    assert apply(documents[0], store.difference(id, (MAIN, 1), (MAIN, 4))) == documents[3]
    assert apply(documents[3], store.difference(id, (MAIN, 4), (MAIN, 1))) == documents[0]
    assert store.restore(id, 2, why="the better one") == 5
    assert store.load(id) == documents[1]
    assert [store.load(id, number) for number in (1, 2, 3, 4)] == documents
    history = store.history(id)
    assert [(r.number, r.parent) for r in history] == [
        (1, None), (2, ("main", 1)), (3, ("main", 2)), (4, ("main", 3)), (5, ("main", 4))]
    assert (history[1].author, history[1].why) == ("ada", "mended") and history[1].changes
    assert history[4].why == "restored revision main 2: the better one"


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_what_is_stored_cannot_be_overwritten(store: AnnotationStore, project: Project, table: str) -> None:
    store.add(project, way(), why="imported")
    with store.file.writing() as db:
        db["annotation_datasets"].insert({"name": "v1", "entries": "[]"})
    for sql in (f"update {table} set rowid = rowid", f"delete from {table}"):
        with pytest.raises(OutputError, match="is append-only"), store.file.writing() as db:
            db.execute(sql)


def test_a_search_finds_by_words_and_filters_and_pages_newest_first(store: AnnotationStore, project: Project) -> None:
    other = store.add_project("other")
    store.add(other, way(id="elsewhere"), why="imported")
    for number in range(7):
        goal = "Buy milk" if number % 2 else "Save the file as notes"
        store.add(project, replace(way(id=f"t{number}", goal=goal), outcome="" if number == 3 else "success"), why="i")
    found = store.search(project, "fil")
    assert (found.total, [row.source_id for row in found.rows]) == (4, ["t6", "t4", "t2", "t0"])
    assert [r.source_id for r in store.search(project, limit=2, offset=3).rows] == ["t3", "t2"]
    assert [r.source_id for r in store.search(project, outcome="").rows] == ["t3"]
    assert store.search(project, "t5").total == store.search(project, 'milk" OR').total + 1 == 1
    assert store.search(project, state="accepted").total == store.search(project, with_errors=True).total == 0
    assert store.search(project, platform="desktop", source="made for tests").total == 7
    for values, match in (({"limit": 0}, "limit"), ({"offset": -1}, "offset"), ({"state": "x"}, "state"),
                          ({"outcome": "x"}, "outcome")):
        with pytest.raises(InputError, match=f"field '{match}'"):
            store.search(project, **values)


def test_what_cannot_be_added_is_refused_and_leaves_nothing(store: AnnotationStore, project: Project, tmp_path) -> None:
    store.add(project, way(), why="imported")
    gone = replace(way(id="t2").steps[0], observation=Observation(image_path=tmp_path / "gone.png"))
    for trajectory, match in (
        (way(), "field 'id': project desk has a trajectory 't1' already"),
        (replace(way(id="t2"), steps=()), "field 'steps'"),
        (replace(way(id="t2"), steps=(gone,)), "gone.png does not exist"),
        (way(id=" "), "field 'id'"),
        (replace(way(id="t2"), meta={"score": float("nan")}), "field 'meta' is no JSON"),
    ):
        with pytest.raises((InputError, MissingFileError), match=match):
            store.add(project, trajectory, why="imported")
    with pytest.raises(InputError, match="field 'why'"):
        store.add(project, way(id="t2"), why=" ")
    assert store.search(project).total == 1


def test_an_episode_can_be_put_into_the_queue(store: AnnotationStore, project: Project) -> None:
    episodes = EpisodeStore(store.root)
    episode = episodes.load(store_way(episodes, oracle_way()))
    id = store.add(project, to_trajectory(episode), why="looks good", origin={"kind": "episode", "id": episode.id})
    assert [s.step.observation.image_path for s in store.load(id).steps] == [
        f.observation.image_path for f in episode.frames]  # the screens are there already
    assert store.row(id).num_errors == 0


def test_projects_have_names_of_their_own(store: AnnotationStore, project: Project) -> None:
    assert store.project("desk") == store.project(project.id) == project
    for name, share, match in (("desk", 0, "already"), ("", 0, "field 'name'"), ("x", 1.5, "field 'second_share'")):
        with pytest.raises(InputError, match=match):
            store.add_project(name, second_share=share)
    with pytest.raises(MissingFileError, match="choose one of desk"):
        store.project("nobody")
    with pytest.raises(MissingFileError, match="'nothing' is not in this store"):
        store.load("nothing")


def test_roles_decide_who_writes(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path, people(vera=Role.VIEWER, ada=Role.ANNOTATOR, rita=Role.REVIEWER))
    with pytest.raises(RoleError, match="annotator may not make projects"):
        store.add_project("p", person="ada")
    project = store.add_project("p", person="rita")
    with pytest.raises(RoleError, match="viewer may not put trajectories"):
        store.add(project, way(), why="w", person="vera")
    with pytest.raises(RoleError, match="logged in"):
        store.add(project, way(), why="w", person="stranger")
    id = store.add(project, way(), why="w", person="ada")
    with pytest.raises(RoleError, match="may not restore"):
        store.restore(id, 1, why="w", person="ada")
    assert store.restore(id, 1, why="w", person="rita") == 2


def test_a_store_of_the_version_before_is_brought_up_to_date_with_what_it_holds(tmp_path: Path) -> None:
    before = MIGRATIONS.index(add_annotation_tables)
    Store(tmp_path, MIGRATIONS[:before]).close()
    episodes = EpisodeStore(tmp_path)
    store = AnnotationStore(tmp_path)
    id = store.add(store.add_project("p"), way(), why="imported")
    store.close()
    assert episodes.search().total == 0
    assert AnnotationStore(tmp_path).load(id).goal == way().goal


def test_a_damaged_record_is_named(store: AnnotationStore, project: Project) -> None:
    id = store.add(project, way(), why="imported")
    with store.file.writing() as db:
        db["annotation_revisions"].insert({
            "trajectory": id, "branch": "main", "number": 2, "author": "", "why": "", "created": "", "changes": "",
            "record": '{"fields": {}, "steps": [["a", "nothing"]]}'})
    with pytest.raises(InputError, match=f"trajectory {id}: revision main 2 is damaged"):
        store.load(id, 2)
    assert store.load(id, 1).goal == way().goal


def test_the_file_is_in_wal_mode(store: AnnotationStore) -> None:
    with closing(sqlite3.connect(store.root / FILE_NAME)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
