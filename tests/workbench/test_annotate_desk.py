"""What annotators and reviewers do through the desk and its views: roles, leases, edits, stale saves, blindness."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from executors.actions import Action
from executors.errors import InputError
from executors.geometry import ImageSize, PointNorm
from executors.trajectory import Observation, Step
from tests.workbench.annotate.makers import way
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep
from workbench import annotate_desk
from workbench.annotate import revisions
from workbench.annotate.queue import LeaseError
from workbench.annotate.store import AnnotationStore, Project
from workbench.annotate_desk import AnnotateDesk
from workbench.annotate_edit import EDITS
from workbench.annotate_work import WorkViews
from workbench.people import People, Role, RoleError, make_person

ATTACK = '<img src=x onerror="alert(1)">'
TEAM = {"ann": Role.ANNOTATOR, "bob": Role.ANNOTATOR, "rev": Role.REVIEWER, "vic": Role.VIEWER, "old": Role.REVIEWER}


@pytest.fixture(scope="module")
def people() -> People:
    return People(by_name={name: make_person(name, role, "long enough") for name, role in TEAM.items()})


@pytest.fixture
def store(tmp_path: Path, people: People) -> AnnotationStore:
    return AnnotationStore(tmp_path / "store", people)


@pytest.fixture
def desk(store: AnnotationStore) -> AnnotateDesk:
    return AnnotateDesk(store)


@pytest.fixture
def project(store: AnnotationStore) -> Project:
    return store.add_project("desk", person="rev")


class Planner:
    """Always forecasts the same steps; none is a reply without a plan."""

    name = "made for tests"
    model = None

    def __init__(self, *steps: ForecastStep) -> None:
        self.config, self.steps = ForecastConfig(), steps

    def forecast(self, requests):
        return [Forecast(steps=self.steps, reason=None if self.steps else "empty", raw="") for _ in requests]


@pytest.fixture
def views(desk: AnnotateDesk) -> WorkViews:
    steps = (ForecastStep(action=Action(type="click"), instruction=f'click the "Save" button {ATTACK}'),
             ForecastStep(action=Action(type="wait"), instruction="wait for it"))
    return WorkViews(desk, lambda: Planner(*steps))


class Page:
    """A page with an open trajectory, as assets/js/annotate_editor.js keeps it."""

    def __init__(self, views: WorkViews, person: str, id: str, mode: str = "annotate", **more: Any) -> None:
        self.views, self.person, self.state = views, person, {}
        self.adopt(views.open({"trajectory": id, "mode": mode, **more}, person))

    def adopt(self, answer: dict) -> dict:
        if "error" not in answer and "trajectory" in answer:
            self.parts = {**getattr(self, "parts", {}), **{n: p["html"] for n, p in answer["parts"].items()}}
            self.state |= {name: answer[name] for name in answer if name != "parts"}
        return answer

    def ask(self, name: str, **more: Any) -> dict:
        return self.adopt(getattr(self.views, name)({**self.state, **more}, self.person))

    def edit(self, **edit: Any) -> dict:
        return self.ask("edit", edit={"key": self.state["step"], **edit})

    def finish(self, act: str, why: str = "done", **more: Any) -> dict:
        return self.ask("finish", act=act, why=why, **more)


def add(store: AnnotationStore, project: Project, id: str = "t1", **values: Any) -> str:
    return store.add(project, way(id, **values), why="imported", person="rev")


def test_an_edit_is_stored_undone_and_redone_and_the_checks_follow(store, project, views) -> None:
    page = Page(views, "ann", add(store, project))
    before = page.state["version"]
    assert "error" not in page.edit(name="instruction", value="")
    assert "no instruction" in page.parts["checks"] and "Submit for review" in page.parts["head"]
    assert page.finish("submit")["kind"] == "submission"
    page.ask("edit", edit="undo")
    assert "no instruction" not in page.parts["checks"]
    assert page.ask("edit", edit="undo")["error"] == "there is nothing to undo"
    page.ask("edit", edit="redo")
    assert "no instruction" in page.parts["checks"] and page.state["version"] == before + 3


def test_every_edit_of_the_page_is_refused_in_words_when_its_values_are_nonsense(store, project, views) -> None:
    page = Page(views, "ann", add(store, project))
    version = page.state["version"]
    junk: list[Any] = [None, 3, [], {}, "x" * 50_000, [1, 2], {"x": "a", "y": float("nan")}, True, -1, "../../etc"]
    for name in EDITS:
        for value in junk:
            answer = page.views.edit({**page.state, "edit": {
                "name": name, "key": value, "value": value, "to": value, "start": value, "end": value, "part": value,
                "mark": value, "type": value, "arguments": value, "by": value}}, "ann")
            assert "error" in answer or answer["version"] == version or name in ("goal", "outcome", "difficulty")
            page.state["version"] = answer.get("version", page.state["version"])
            version = page.state["version"]
    for junk_ask in (None, "x", [], {"edit": 3}, {"edit": "no such"}, {"trajectory": 7}):
        assert "error" in page.views.edit(junk_ask, "ann")


def test_a_drag_is_set_at_both_ends_and_a_box_around_the_target(store, project, desk, views) -> None:
    id = add(store, project)
    page = Page(views, "ann", id)
    page.edit(name="action", type="drag")
    page.edit(name="ends", start={"x": 0.1, "y": 0.2}, end={"x": 0.9, "y": 7})
    page.edit(name="target", value=[0.3, 0.4, 0.05, 0.1])  # drawn from the lower right corner
    page.edit(name="private", value="0.5, 0.5, 0.75, 1")
    step = desk.drafts.find(id, "ann").document.steps[0]
    assert (step.step.action.start_point, step.step.action.end_point) == (PointNorm(0.1, 0.2), PointNorm(0.9, 1.0))
    assert (step.step.target.left, step.step.target.top) == (0.05, 0.1)
    assert len(step.blur) == 1 and "private" in step.step.flags
    assert "an-target" in page.parts["screen"] and "an-private" in page.parts["screen"]
    page.edit(name="target", value="")
    assert desk.drafts.find(id, "ann").document.steps[0].step.target is None
    assert "four numbers" in page.edit(name="target", value="1, 2")["error"]


def test_a_step_is_paired_with_another_screen_also_of_a_deleted_step(store, project, desk, views) -> None:
    id = add(store, project)
    page = Page(views, "ann", id)
    first, last = page.state["keys"][0], page.state["keys"][-1]
    gone = desk.drafts.find(id, "ann").document.step(last).step.observation
    page.ask("edit", edit={"name": "delete", "key": last})
    assert last not in page.state["keys"]
    page.ask("edit", edit={"name": "screen", "key": first, "value": last})
    assert desk.drafts.find(id, "ann").document.step(first).step.observation.image_path == gone.image_path
    assert "none of this trajectory" in page.edit(name="screen", value="elsewhere")["error"]


def test_two_windows_of_one_person_never_write_over_one_another(store, project, views) -> None:
    id = add(store, project)
    one, two = Page(views, "ann", id), Page(views, "ann", id)
    one.edit(name="instruction", value="one")
    answer = two.edit(name="instruction", value="two")
    assert answer["kind"] == "stale"
    two.adopt(two.views.refresh(two.state, "ann"))
    assert "one" in two.parts["fields"] and "error" not in two.edit(name="instruction", value="two")


def test_roles_and_leases_are_checked_by_the_server(store, project, desk, views) -> None:
    id = add(store, project)
    for person, mode, words in (("vic", "annotate", "a viewer may not"), ("ann", "review", "an annotator may not"),
                                ("ann", "fix", "an annotator may not"), ("nobody", "look", "logged in")):
        answer = views.open({"trajectory": id, "mode": mode}, person)
        assert "may" in answer["error"] and words.split()[-1] in answer["error"]
    page = Page(views, "ann", id)
    assert "ann works on this" in views.open({"trajectory": id, "mode": "annotate"}, "bob")["error"]
    assert views.finish({**page.state, "act": "submit", "why": "mine", "token": "guessed"}, "ann")["kind"] == "lease"
    assert views.renew({"task": page.state["task"], "token": page.state["token"]}, "bob")["kind"] == "lease"
    with pytest.raises(RoleError):
        desk.break_lease("ann", page.state["task"], "I want it")
    desk.break_lease("rev", page.state["task"], "gone home")
    page.edit(name="instruction", value="kept")  # the draft stays
    assert page.finish("submit")["kind"] == "lease"
    assert "kept" in Page(views, "ann", id).parts["fields"]


def test_review_returns_with_comments_and_accepts_what_was_mended(store, project, desk, views) -> None:
    id = add(store, project, goal=ATTACK)
    page = Page(views, "ann", id)
    page.edit(name="thought", value=ATTACK)
    assert page.finish("submit", why="looked at it")["done"] == "Revision 2 waits for review."
    review = Page(views, "rev", id, "review")
    assert not any("<img src=x" in part for part in review.parts.values())
    key = review.state["keys"][1]
    assert "done" in review.finish("return", why="see step 2", comments={key: f"wrong {ATTACK}"})
    again = Page(views, "ann", id)
    assert "step 2" in again.parts["comments"] and "<img src=x" not in again.parts["comments"]
    again.ask("resolve", comment=desk.comments("ann", id, "main")[0].number)
    assert "✓ done" in again.parts["comments"]
    again.finish("submit", why="mended")
    fix = Page(views, "rev", id, "fix")
    fix.edit(name="goal", value="Save the file")
    assert "as revision 3" in fix.finish("fix", why="goal said again")["done"]
    assert store.row(id).state == "accepted" and store.load(id).goal == "Save the file"
    assert [r.author for r in store.history(id)] == ["rev", "ann", "rev"]


def test_a_stale_save_shows_three_versions_and_joins_them(store, project, desk, views) -> None:
    id = add(store, project)
    page = Page(views, "ann", id)
    page.edit(name="instruction", value="mine")
    page.edit(name="goal", value="my goal")
    store.restore(id, 1, why="for the test", person="rev")  # theirs: equal to the base
    other = desk.drafts.open(id, "rev")
    other = desk.drafts.edit(other, EDITS["goal"](other.document, {"value": "their goal"}))
    with store.file.writing() as db:
        before = revisions.read(db, store.root, id, "main", 2)
        revisions.append(db, id, other.document, before=before, parent=("main", 2), author="rev", why="goal")
    answer = page.finish("submit", why="mine")
    assert answer["kind"] == "conflict" and "their goal" in answer["html"] and "my goal" in answer["html"]
    assert "choose mine or theirs" in page.ask("join", their_revision=3, choices={})["error"]
    assert page.ask("join", their_revision=2, choices={"goal": "mine"})["kind"] == "stale"
    page.ask("join", their_revision=3, choices={"goal": "theirs"})
    assert "Revision 4" in page.finish("submit", why="joined")["done"]
    document = store.load(id)
    assert (document.goal, document.steps[0].step.instruction) == ("their goal", "mine")


def test_history_is_compared_and_restored(store, project, desk, views) -> None:
    id = add(store, project)
    page = Page(views, "ann", id)
    page.edit(name="delete")
    page.finish("submit", why=f"one less {ATTACK}")
    shown = views.versions({"act": "history", "trajectory": id}, "vic")["html"]
    assert "logged in" in views.versions({"act": "history", "trajectory": id}, "nobody")["error"]
    assert "one less" in shown and "<img" not in shown and "data-act=\"restore\"" not in shown
    difference = views.versions({"act": "difference", "trajectory": id, **pair(1, 2)}, "vic")["html"]
    assert "step 1 taken away" in difference and "not there" in difference
    assert "may not" in views.versions(
        {"act": "restore", "trajectory": id, "number": 1, "branch": "main", "why": "x"}, "ann")["error"]
    views.versions({"act": "restore", "trajectory": id, "number": 1, "branch": "main", "why": "too much gone"}, "rev")
    assert len(store.load(id).steps) == 4
    look = Page(views, "vic", id, "look", revision=2)
    assert len(look.state["keys"]) == 3 and "disabled" in look.parts["fields"]


def pair(*numbers_and_branches: int | tuple[str, int]) -> dict[str, dict]:
    """The two revisions of a comparison as the page names them."""
    pairs = [one if isinstance(one, tuple) else ("main", one) for one in numbers_and_branches]
    named = [{"branch": branch, "number": number} for branch, number in pairs]
    return dict(zip(("before", "after"), named, strict=True))


def test_a_second_annotation_is_compared_with_the_first_by_who_may_see_both(store, desk, views) -> None:
    project = store.add_project("twice", person="rev", second_share=1.0)
    id = add(store, project)
    first, second = Page(views, "ann", id), Page(views, "bob", id)
    second.edit(name="goal", value="the second one's goal")
    second.edit(name="delete")
    second.finish("submit", why="second")
    across = {"act": "difference", "trajectory": id, **pair(1, ("second", 1))}
    assert "blindly" in views.versions(across, "ann")["error"]  # hers is not submitted yet
    assert "second" not in views.versions({"act": "history", "trajectory": id}, "ann")["html"]
    first.edit(name="goal", value="the first one's goal")
    first.finish("submit", why="first")
    for person in ("ann", "bob", "rev", "vic"):
        history = views.versions({"act": "history", "trajectory": id}, person)["html"]
        assert history.count('data-branch="second" data-number="1">revision second 1</option>') == 2
        html = views.versions({**across, **pair(2, ("second", 1))}, person)["html"]
        assert "Revision 2 compared with revision second 1" in html and "step 1 taken away" in html
        assert "first one&#x27;s goal" in html and "second one&#x27;s goal" in html
    back = views.versions({**across, **pair(("second", 1), 2)}, "vic")["html"]
    assert "Revision second 1 compared with revision 2" in back and "step 1 added" in back


@pytest.mark.parametrize("nonsense", [None, 2, "main", {}, {"branch": "main"}, {"branch": 3, "number": 1},
                                      {"branch": "main", "number": 0}, {"branch": "third", "number": 1}])
def test_a_comparison_with_what_is_no_revision_is_refused_in_words(store, project, views, nonsense) -> None:
    ask = {"act": "difference", "trajectory": add(store, project), **pair(1, 1)}
    assert "are equal" in views.versions(ask, "vic")["html"]
    assert views.versions({**ask, "after": nonsense}, "vic")["error"]


def test_a_reviewer_who_annotates_restores_no_annotation_that_is_hidden_from_them(store, views) -> None:
    project = store.add_project("twice", person="rev", second_share=1.0)
    id = add(store, project)
    Page(views, "rev", id)
    second = Page(views, "bob", id)
    second.edit(name="goal", value="the second one's goal")
    second.finish("submit", why="second")
    ask = {"act": "restore", "trajectory": id, "number": 1, "branch": "second", "why": "curious"}
    assert "blindly" in views.versions(ask, "rev")["error"]
    assert "Restored as revision 2" in views.versions(ask, "old")["done"]


def test_who_annotates_blindly_does_not_see_the_first_annotation(store, desk, views) -> None:
    project = store.add_project("twice", person="rev", second_share=1.0)
    id = add(store, project)
    first = Page(views, "ann", id)
    first.edit(name="goal", value="the first one's goal")
    first.finish("submit", why="first")
    assert "first one" in Page(views, "vic", id, "look").parts["whole"]
    second = Page(views, "bob", id)
    assert second.state["branch"] == "second" and "first one" not in second.parts["whole"]
    assert [r.number for r in desk.history("bob", id)] == [1]
    for ask in ({"mode": "look"}, {"mode": "look", "revision": 2}):
        assert "blindly" in views.open({"trajectory": id, **ask}, "bob")["error"]
    assert "blindly" in views.versions({"act": "difference", "trajectory": id, **pair(1, 2)}, "bob")["error"]
    second.edit(name="goal", value="the second one's goal")
    second.finish("submit", why="second")
    assert "first one" in Page(views, "bob", id, "look").parts["whole"]


def test_who_annotates_first_does_not_see_a_second_annotation_that_was_faster(store, desk, views) -> None:
    project = store.add_project("twice", person="rev", second_share=1.0)
    id = add(store, project)
    first = Page(views, "ann", id)
    second = Page(views, "bob", id)
    second.edit(name="goal", value="the second one's goal")
    second.finish("submit", why="second")
    assert [(r.branch, r.number) for r in desk.history("ann", id)] == [("main", 1)]
    assert "blindly" in views.open({"trajectory": id, "mode": "look", "branch": "second"}, "ann")["error"]
    first.finish("submit", why="first")
    assert [(r.branch, r.number) for r in desk.history("ann", id)] == [("main", 1), ("second", 1)]


def detailed(number: int) -> Step:
    """A step on a screen with as much on it as a real one has."""
    noise = PIL.Image.effect_noise((640, 352), 60).resize((1280, 704)).convert("RGB")
    seen = Observation(image_size=ImageSize(1280, 704), image=noise, summary=f"Screen {number}")
    return replace(way().steps[0], observation=seen)


def test_the_filmstrip_shows_small_pictures_and_the_screen_the_whole(store, project, desk, views) -> None:
    steps = tuple(map(detailed, range(3)))
    id = store.add(project, replace(way(), steps=(*steps, way().steps[3])), why="made", person="rev")
    whole = [step.step.observation.image_path for step in store.load(id).steps]
    small = [path.parent / "small" / f"{path.stem}.jpg" for path in whole]
    strip = re.findall(r'src="gradio_api/file=([^"]+)"', Page(views, "vic", id, "look").parts["strip"])
    assert strip == list(map(str, small))
    for path, of in zip(small, whole, strict=True):
        with PIL.Image.open(path) as image, PIL.Image.open(of) as screen:
            assert image.width <= 264 and image.height <= 144
            assert image.width / image.height == pytest.approx(screen.width / screen.height, rel=0.02)
    assert 10 * sum(path.stat().st_size for path in small) < sum(path.stat().st_size for path in whole)
    assert str(whole[0]) in Page(views, "vic", id, "look").parts["screen"]


def test_small_pictures_are_made_again_where_they_are_missing_a_bounded_number_at_once(
    store, project, desk, views, monkeypatch
) -> None:
    id = add(store, project)
    whole = [step.step.observation.image_path for step in store.load(id).steps]
    shutil.rmtree(store.root / "screens" / "small")  # as in a store that was put back from a backup
    whole[1].write_bytes(b"damaged")
    monkeypatch.setattr(annotate_desk, "MAX_SMALL_MADE", 1)
    strip = Page(views, "ann", id).parts["strip"]
    assert [str(path) in strip for path in whole] == [False, True, True, True]
    monkeypatch.setattr(annotate_desk, "MAX_SMALL_MADE", 15)
    strip = Page(views, "ann", id).parts["strip"]
    assert [str(path) in strip for path in whole] == [False, True, True, False]


def test_a_forecast_is_shown_beside_the_steps_and_accepted_one_by_one(store, project, desk, views) -> None:
    id = add(store, project)
    page = Page(views, "ann", id)
    assert "ask the planner again" in page.ask("help", act="accept_forecast", number=1)["error"]
    page.ask("help", act="forecast")
    assert "wait for it" in page.parts["forecast"] and "<img src=x" not in page.parts["forecast"] + page.parts["screen"]
    assert "tw-forecast" in page.parts["screen"]
    page.ask("help", act="accept_forecast", number=1)
    page.ask("help", act="accept_forecast", number=2)
    first, second = desk.drafts.find(id, "ann").document.steps[:2]
    assert first.step.action.point == PointNorm(0.5, 0.5) and second.step.action.type == "wait"
    assert "stands for no step" in page.ask("help", act="accept_forecast", number=3)["error"]
    page.ask("edit", edit="undo")
    assert desk.drafts.find(id, "ann").document.steps[1].step.action.type == "type"


def test_words_are_grounded_on_the_screens_elements(store, project, desk, views) -> None:
    id = add(store, project)
    page = Page(views, "ann", id)
    page.edit(name="point", part="point", to={"x": 0.01, "y": 0.01})
    page.edit(name="instruction", value='click the "Save" button')
    page.ask("help", act="ground")
    assert desk.drafts.find(id, "ann").document.steps[0].step.action.point == PointNorm(0.5, 0.5)
    page.edit(name="instruction", value='click the "Zebra" row')
    assert "names nothing on this screen" in page.ask("help", act="ground")["error"]


def test_a_planner_that_says_nothing_is_told(store, project, desk) -> None:
    views = WorkViews(desk, lambda: Planner())
    page = Page(views, "ann", add(store, project))
    assert "gave no plan" in page.ask("help", act="forecast")["error"]


def test_nobody_reviews_their_own_work(store, project, views) -> None:
    id = add(store, project)
    Page(views, "old", id).finish("submit", why="as it is")
    assert "somebody else reviews it" in views.open({"trajectory": id, "mode": "review"}, "old")["error"]
    assert "error" not in views.open({"trajectory": id, "mode": "review"}, "rev")


def test_an_unknown_mode_and_a_task_that_is_done_are_refused(store, project, desk, views) -> None:
    id = add(store, project)
    with pytest.raises(InputError, match="mode"):
        desk.open("ann", id, "destroy")
    page = Page(views, "ann", id)
    page.finish("submit")
    with pytest.raises(LeaseError, match="waits for review"):
        desk.open("bob", id, "annotate")
    assert page.edit(name="instruction", value="late")["kind"] == "gone"


def test_steps_without_a_screenshot_and_a_thousand_steps_are_shown(store, project, desk, views) -> None:
    bare = replace(way("bare"), steps=tuple(
        replace(s, observation=Observation(text=f"an answer {ATTACK}")) for s in way().steps))
    page = Page(views, "ann", store.add(project, bare, why="made", person="rev"))
    assert "has no screenshot" in page.parts["screen"] and "<img" not in page.parts["screen"] + page.parts["strip"]
    page.edit(name="point", part="point", to={"x": 0.5, "y": 0.5})
    assert "error" not in page.finish("release")
    long = replace(way("long"), steps=way().steps[:1] * 999 + way().steps[3:])
    page = Page(views, "ann", store.add(project, long, why="made", person="rev"))
    assert len(page.state["keys"]) == 1000
    assert "keep 1..1000" in page.edit(name="duplicate")["error"]
    page.ask("refresh", step=page.state["keys"][-1])
    assert "Step 1000 of 1000" in page.parts["fields"]
