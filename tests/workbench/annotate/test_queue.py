"""The queue: leases, submission, review, stale saves, the blind second pass, roles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from tests.workbench.annotate.makers import way
from tests.workbench.annotate.test_store import people
from workbench.annotate import edits
from workbench.annotate.document import StaleError
from workbench.annotate.drafts import Draft, Drafts
from workbench.annotate.progress import progress
from workbench.annotate.queue import LEASE_SECONDS, Lease, LeaseError, Queue, StaleSaveError, SubmissionError
from workbench.annotate.store import AnnotationStore, Project
from workbench.annotate.three_way import merge
from workbench.people import Role, RoleError

TEAM = people(vera=Role.VIEWER, ada=Role.ANNOTATOR, bob=Role.ANNOTATOR, cleo=Role.ANNOTATOR, rita=Role.REVIEWER)


class Team:
    """A store with a team, a project, a queue and a clock that the test moves."""

    def __init__(self, root: Path, second_share: float = 0.0) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self.store = AnnotationStore(root, TEAM)
        self.project = self.store.add_project("p", person="rita", second_share=second_share)
        self.queue, self.drafts = Queue(self.store, clock=lambda: self.now), Drafts(self.store)

    def add(self, name: str = "t1", priority: int = 0) -> str:
        return self.store.add(self.project, way(id=name), why="imported", person="ada", priority=priority)

    def take(self, person: str, kind: str = "annotate", **values: str) -> Lease | None:
        return self.queue.take(self.project, person, kind, **values)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def edited(self, lease: Lease, goal: str) -> Draft:
        draft = self.drafts.open(lease.task.trajectory, lease.person, lease.task.branch)
        return self.drafts.edit(draft, edits.set_goal(draft.document, goal))

    def submit(self, person: str, goal: str) -> int:
        lease = self.take(person)
        return self.queue.submit(lease, self.edited(lease, goal), "mended")


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


# ---- leases


def test_two_people_never_hold_one_task(team: Team) -> None:
    team.add("t1"), team.add("t2")
    first, second = team.take("ada"), team.take("bob")
    assert first.task.trajectory != second.task.trajectory
    assert team.take("cleo") is None
    assert team.take("ada").token == first.token  # after a reload


def test_tasks_come_by_priority_and_age(team: Team) -> None:
    names = {team.add(name, priority): name for name, priority in (("a", 0), ("b", 5), ("c", 5), ("d", 0))}
    order = []
    while lease := team.take("ada"):
        order.append(names[lease.task.trajectory])
        team.queue.submit(lease, team.edited(lease, f"Save {order[-1]}"), "mended")
    assert order == ["b", "c", "a", "d"]


def test_a_lease_that_is_renewed_lasts_and_one_that_is_not_is_free_for_others(team: Team) -> None:
    team.add()
    lease = team.take("ada")
    for _ in range(5):
        team.wait(LEASE_SECONDS - 1)
        lease = team.queue.renew(lease)
        assert team.take("bob") is None
    team.wait(LEASE_SECONDS)
    assert team.queue.renew(lease).until > lease.until  # run out, but nobody wanted it
    team.wait(LEASE_SECONDS)
    assert team.take("bob") is not None
    with pytest.raises(LeaseError, match="bob has it now.*your draft is kept"):
        team.queue.renew(lease)


def test_a_released_task_is_free_and_its_draft_stays(team: Team) -> None:
    id = team.add()
    lease = team.take("ada")
    draft = team.edited(lease, "Save it")
    team.queue.release(lease)
    assert team.take("bob").task.trajectory == id
    assert team.drafts.find(id, "ada") == draft
    with pytest.raises(LeaseError):
        team.queue.submit(lease, draft, "mended")
    assert team.store.row(id).revision == 1


def test_a_reviewer_breaks_a_lease_and_an_annotator_cannot(team: Team) -> None:
    team.add()
    lease = team.take("ada")
    with pytest.raises(RoleError, match="may not break leases"):
        team.queue.break_lease(lease.task.number, "bob", "I want it")
    with pytest.raises(InputError, match="field 'why'"):
        team.queue.break_lease(lease.task.number, "rita", " ")
    team.queue.break_lease(lease.task.number, "rita", "on holiday")
    assert team.take("bob") is not None
    with pytest.raises(LeaseError):
        team.queue.release(lease)
    with pytest.raises(MissingFileError, match="task 99"):
        team.queue.break_lease(99, "rita", "x")


# ---- submission


def test_a_submission_is_a_revision_that_waits_for_review(team: Team) -> None:
    id = team.add()
    assert team.submit("ada", "Save the notes") == 2
    row = team.store.row(id)
    assert (row.goal, row.state, row.revision) == ("Save the notes", "submitted", 2)
    assert team.store.history(id)[1].author == "ada" and team.drafts.find(id, "ada") is None
    assert team.take("bob") is None


def test_a_draft_that_changes_nothing_submits_the_revision_it_is_based_on(team: Team) -> None:
    id = team.add()
    lease = team.take("ada")
    assert team.queue.submit(lease, team.drafts.open(id, "ada"), "it is right") == 1
    assert len(team.store.history(id)) == 1 and team.store.row(id).state == "submitted"


def test_errors_block_a_submission_and_warnings_do_not(team: Team) -> None:
    id = team.add()
    lease = team.take("ada")
    draft = team.edited(lease, "Turn the heating off")  # warned of: no step mentions it
    bad = team.drafts.edit(draft, edits.set_instruction(draft.document, draft.document.keys[0], ""))
    with pytest.raises(SubmissionError, match="cannot be submitted: the step has no instruction") as told:
        team.queue.submit(lease, bad, "mended")
    assert [f.rule for f in told.value.findings] == ["no words"]
    assert team.store.row(id).state == "waiting"
    assert team.queue.submit(lease, team.drafts.undo(bad), "mended") == 2


def test_a_submission_without_reason_or_of_an_older_window_is_refused_and_keeps_the_draft(team: Team) -> None:
    team.add()
    lease = team.take("ada")
    old = team.drafts.open(lease.task.trajectory, "ada")
    new = team.edited(lease, "Save it")
    with pytest.raises(StaleError, match="another window"):
        team.queue.submit(lease, old, "mended")
    with pytest.raises(InputError, match="field 'why'"):
        team.queue.submit(lease, new, "")
    assert team.drafts.find(lease.task.trajectory, "ada") == new
    other = team.drafts.open(team.add("t2"), "ada")
    with pytest.raises(MissingFileError, match="no draft of this task"):
        team.queue.submit(lease, other, "mended")


def test_a_stale_save_shows_three_versions_and_loses_nobodys_work(team: Team) -> None:
    id = team.add()
    lease = team.take("ada")
    mine = team.edited(lease, "Save mine")
    team.wait(LEASE_SECONDS)
    theirs = team.take("bob")
    draft = team.drafts.open(id, "bob")
    draft = team.drafts.edit(draft, edits.delete_step(draft.document, draft.document.keys[2]))
    team.queue.submit(theirs, draft, "bob's")
    review = team.take("rita", "review")
    team.queue.return_(review, 2, "look again")
    lease = team.take("ada", trajectory=id)
    with pytest.raises(StaleSaveError, match="bob made revision 2 since") as told:
        team.queue.submit(lease, mine, "mended")
    view = told.value.view
    assert (view.base.goal, view.theirs.goal, view.mine.goal) == (way().goal, way().goal, "Save mine")
    assert [row.verdict for row in view.steps] == ["same", "same", "theirs", "same"] and view.conflicts == []
    joined = team.drafts.rebase(mine, merge(view), view.their_revision)
    assert team.queue.submit(lease, joined, "joined") == 3
    final = team.store.load(id)
    assert final.goal == "Save mine" and len(final.steps) == 3


# ---- review


def test_nobody_reviews_their_own_work_and_a_reviewer_ends_it(team: Team) -> None:
    id = team.add()
    lease = team.take("rita")
    team.queue.submit(lease, team.edited(lease, "Save it"), "mended")
    assert team.take("rita", "review") is None
    with pytest.raises(RoleError, match="may not review"):
        team.take("ada", "review")
    team.add("t2")
    team.submit("ada", "Save two")
    review = team.take("rita", "review")
    team.queue.accept(review, 2, "fine")
    assert team.store.search(team.project, state="accepted").total == 1
    assert team.store.row(id).state == "submitted"


def test_what_is_returned_comes_back_to_its_annotator_first_with_comments_on_steps(team: Team) -> None:
    id = team.add()
    team.submit("ada", "Save it")
    team.add("t2", priority=9)
    key = team.store.load(id).keys[1]
    team.queue.return_(team.take("rita", "review"), 2, "see step 2", {key: "type the whole name"})
    assert team.take("bob").task.trajectory != id
    lease = team.take("ada")
    assert lease.task.trajectory == id and lease.task.state == "returned"
    (comment,) = team.queue.comments(id)
    assert (comment.step, comment.text, comment.author, comment.revision) == (key, "type the whole name", "rita", 2)
    team.queue.resolve(comment.number, "ada")
    assert team.queue.comments(id)[0].resolved_by == "ada"
    assert team.queue.submit(lease, team.edited(lease, "Save it well"), "as asked") == 3


def test_a_review_of_an_older_revision_is_refused(team: Team) -> None:
    id = team.add()
    team.submit("ada", "Save it")
    review = team.take("rita", "review")
    team.store.restore(id, 1, why="no", person="rita")
    with pytest.raises(StaleError, match="revision 2 is not the newest one any more, 3 is"):
        team.queue.accept(review, 2)
    team.queue.accept(review, 3)
    with pytest.raises(LeaseError):
        team.queue.accept(review, 3)


def test_a_comment_on_nothing_is_refused_and_undone_whole(team: Team) -> None:
    id = team.add()
    team.submit("ada", "Save it")
    review = team.take("rita", "review")
    key = team.store.load(id).keys[0]
    for comments, match in (({key: "x", "nobody": "y"}, "step 'nobody'"), ({key: " "}, "field 'comment'")):
        with pytest.raises(InputError, match=match):
            team.queue.return_(review, 2, "no", comments)
    assert team.queue.comments(id) == [] and team.store.row(id).state == "submitted"
    team.queue.comment(id, "bob", "why twice?", revision=2, step=key)
    assert len(team.queue.comments(id)) == 1
    with pytest.raises(RoleError):
        team.queue.comment(id, "vera", "hm", revision=2)


def test_a_reviewer_mends_and_accepts_in_one(team: Team) -> None:
    id = team.add()
    team.submit("ada", "Save it")
    review = team.take("rita", "review")
    draft = team.drafts.open(id, "rita")
    draft = team.drafts.edit(draft, edits.insert_step(draft.document, 0, Action(type="wait"), "wait a moment"))
    assert team.queue.fix(review, draft, "the start was missing") == 3
    assert (team.store.row(id).state, team.store.history(id)[2].author) == ("accepted", "rita")


# ---- the blind second pass


def test_a_second_annotation_starts_from_the_import_and_is_done_by_somebody_else(tmp_path: Path) -> None:
    team = Team(tmp_path, second_share=1.0)
    id = team.add()
    team.submit("ada", "First")
    assert team.take("ada") is None
    lease = team.take("bob")
    assert (lease.task.branch, team.drafts.open(id, "bob", "second").document.goal) == ("second", way().goal)
    assert team.queue.submit(lease, team.edited(lease, "Second"), "mine") == 1
    assert (team.store.load(id).goal, team.store.load(id, 1, "second").goal) == ("First", "Second")
    review = team.take("rita", "review", trajectory=id)
    team.queue.return_(review, review.task.submitted, "again")
    assert [p[1] for p in team.queue.second_passes(team.project)] == ["ada"]
    (_, first, one, second, two) = team.queue.second_passes(team.project)[0]
    assert (first, one.goal, second, two.goal) == ("ada", "First", "bob", "Second")
    assert team.store.restore(id, 1, branch="second", why="better", person="rita") == 3
    assert team.store.load(id).goal == "Second"


def test_who_has_seen_one_branch_is_not_given_the_other(tmp_path: Path) -> None:
    team = Team(tmp_path, second_share=1.0)
    id = team.add()
    assert team.take("ada").task.branch == "main"
    assert team.take("bob").task.branch == "second"
    assert team.take("cleo") is None
    team.queue.release(team.take("ada"))
    team.drafts.open(id, "ada")
    team.queue.break_lease(team.queue.tasks(id)[1].number, "rita", "away")
    assert team.take("ada").task.branch == "main"  # a draft of it is open


def test_the_share_of_second_annotations_is_about_what_was_asked(tmp_path: Path) -> None:
    team = Team(tmp_path, second_share=0.3)
    chosen = sum(len(team.queue.tasks(team.add(f"t{n}"))) == 2 for n in range(60))
    assert 6 <= chosen <= 32  # far outside three standard deviations of 18 is 7 to 29


# ---- progress


def test_progress_counts_tasks_people_and_days(team: Team) -> None:
    for name in ("a", "b", "c"):
        team.add(name)
    for goal in ("one", "two"):
        team.submit("ada", goal)
        team.wait(60)
    team.queue.accept(team.take("rita", "review"), 2)
    review = team.take("rita", "review")
    team.queue.return_(review, 2, "no")
    team.wait(86400)
    told = progress(team.store, team.project)
    assert told.tasks == {("main", "accepted"): 1, ("main", "returned"): 1, ("main", "waiting"): 1}
    (ada,) = told.people
    assert (ada.person, ada.by_verdict) == ("ada", {"submitted": 2, "accepted": 1, "returned": 1})
    assert (ada.by_day, ada.seconds_between) == ({"2026-05-01": 2}, 60.0)


def test_where_nobody_logs_in_one_person_does_everything(store: AnnotationStore, project: Project) -> None:
    queue, drafts = Queue(store), Drafts(store)
    id = store.add(project, way(), why="imported")
    lease = queue.take(project, "")
    draft = drafts.open(id, "")
    draft = drafts.edit(draft, edits.set_goal(draft.document, "Save it"))
    queue.submit(lease, draft, "mended")
    review = queue.take(project, "", "review")
    queue.accept(review, 2)
    assert store.row(id).state == "accepted"
    with pytest.raises(InputError, match="field 'kind'"):
        queue.take(project, "", "steal")
