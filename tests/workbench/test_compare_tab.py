"""The Compare tab's views and handlers, called as plain functions on real evaluations and a real store."""

from __future__ import annotations

import html
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from executors.errors import InputError
from tests.workbench.compare_helpers import ATTACK, BENCHMARK, make_evaluation, make_two
from workbench.annotation_queue import AnnotationQueue
from workbench.compare_desk import Choice, CompareDesk, FlipChoice
from workbench.compare_launch import EvaluationForm
from workbench.compare_saved import SavedComparisons
from workbench.compare_shelf import EvaluationShelf
from workbench.compare_views import CompareViews
from workbench.people import People, Role, make_person
from workbench.runs.desk import RunDesk
from workbench.store import Store
from workbench.tabs.compare import CompareHandlers, build_tab

NOBODY = SimpleNamespace(username=None)
IDS = ["weak/grounded.elements", "strong/grounded.elements"]
CHOICE = Choice(ids=tuple(IDS))
PAIR = {"benchmark": BENCHMARK, "a": "weak", "b": "strong"}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluations")
    make_two(folder)
    make_evaluation(folder, "val", lambda state: False, split="val", num_episodes=2)
    return folder


@pytest.fixture
def parts(root, tmp_path):
    """The desk, the runs, and handlers and views for everyone."""
    store = Store(tmp_path / "store")
    desk = CompareDesk(EvaluationShelf(root), SavedComparisons(store), AnnotationQueue(store))
    runs = RunDesk(tmp_path / "runs", tmp_path / "runs" / "queue.sqlite")
    yield SimpleNamespace(
        desk=desk, runs=runs, handlers=CompareHandlers(desk, runs, People()), views=CompareViews(desk, runs, tmp_path)
    )
    runs.close()


def event(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def flip_of(parts, right: str = "strong") -> str:
    return parts.views.flips({"chosen": IDS, **PAIR, "right": right})["ids"][0]


# ---------------------------------------------------------------- reading


def test_the_lists_come_once_and_again_only_when_they_change(parts):
    first = parts.views.look({"chosen": IDS[:1]})
    assert set(first["parts"]) == {"stored", "saved", "leaders", "queue", "runs"}
    assert first["known"] == ["strong/grounded.elements", "weak/grounded.elements", "val/grounded.elements"]
    seen = {name: part["hash"] for name, part in first["parts"].items()}
    assert parts.views.look({"chosen": IDS[:1], "seen": seen})["parts"] == {}
    parts.desk.queue.add(sample_id="e/1", benchmark="b", evaluation="x", reason="r")
    changed = parts.views.look({"chosen": IDS[:1], "seen": seen})
    assert set(changed["parts"]) == {"queue"} and changed["num_queued"] == 1


def test_an_empty_folder_says_how_to_evaluate(parts, tmp_path):
    parts.desk.shelf = EvaluationShelf(tmp_path / "none")
    page = parts.views.look({})["parts"]["stored"]["html"]
    assert "No evaluations yet" in page and "tracer1 evaluate" in page


def test_the_comparison_names_the_better_one_with_intervals_and_counts(parts):
    answer = parts.views.compare({"chosen": IDS})
    (pair,) = parts.desk.comparison(CHOICE).benchmarks[0].pairs
    assert answer["is_compared"]
    assert f"by {100 * pair.gap:.1f} points" in answer["html"]
    assert f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}" in answer["html"]
    assert f">{pair.num_only_b}</button>" in answer["html"]


def test_no_winner_is_named_where_none_is_shown(parts, tmp_path):
    for name in ("a", "b"):
        make_evaluation(tmp_path / "equal", name, lambda state: False, num_episodes=2)
    parts.desk.shelf = EvaluationShelf(tmp_path / "equal")
    page = parts.views.compare({"chosen": ["a/grounded.elements", "b/grounded.elements"]})["html"]
    assert "no difference shown, with 2 episodes too few to tell" in page and "is better than" not in page


def test_page_learns_that_chosen_results_were_damaged(parts):
    ask = {"chosen": IDS}
    before = parts.views.look(ask)["results"]
    assert parts.views.look(ask)["results"] == before
    path = parts.desk.shelf.root / "weak" / "results.grounded.elements.jsonl"
    content = path.read_bytes()
    try:
        path.write_bytes(content[: len(content) // 2])
        assert parts.views.look(ask)["results"] != before
        assert "damaged" in parts.views.compare(ask)["html"]
        path.unlink()
        assert parts.views.look(ask)["results"] != before
    finally:
        path.write_bytes(content)


def test_curves_have_every_lookahead_with_its_interval(parts):
    ((weak, strong),) = parts.views.compare({"chosen": IDS})["figures"]
    assert (weak["name"], strong["t"]) == ("weak", [1, 2, 3])
    points = zip(strong["low"], strong["rate"], strong["high"], strict=True)
    assert all(low <= rate <= high for low, rate, high in points)


def test_a_refusal_says_what_differs(parts):
    answer = parts.views.compare({"chosen": [IDS[0], "val/grounded.elements"]})
    assert "Not compared" in answer["html"] and "alone" in answer["html"] and not answer["is_compared"]
    assert "Tick one more evaluation" in parts.views.compare({"chosen": IDS[:1]})["html"]


def test_a_saved_comparison_whose_results_are_gone_says_so(parts, tmp_path):
    make_two(tmp_path / "all")
    parts.desk.shelf = EvaluationShelf(tmp_path / "all")
    parts.desk.save("kept", CHOICE, "")
    (tmp_path / "all" / "weak" / "results.grounded.elements.jsonl").unlink()
    assert "cannot read results" in parts.views.compare({**parts.views.open({"name": "kept"}), "shown": "kept"})["html"]


def test_a_comparison_that_is_deleted_while_it_is_shown_stays_shown(parts):
    assert parts.views.compare({"chosen": IDS, "shown": "gone"})["is_compared"]


def test_flips_are_listed_both_ways_and_opened_on_the_screenshot(parts):
    for right, wrong in (("strong", "weak"), ("weak", "strong")):
        id = flip_of(parts, right)
        page = parts.views.flip({"chosen": IDS, **PAIR, "flip": id})["html"]
        assert f"Only <bdi>{right}</bdi> is right; <bdi>{wrong}</bdi> is not." in page
        assert page.count("data:image/png;base64,") == 2  # the screen, once for each side
        assert page.count('data-mark="recorded-1"') >= 2  # the reference on both
        assert page.count("<h4>") == 2 and "To annotation queue" in page
        assert "no such step could be read: no plan" in page


def test_a_flip_shows_the_stored_verdicts_and_parts(parts):
    id = flip_of(parts)
    flip = next(flip for flip in parts.desk.flips(CHOICE, FlipChoice(**PAIR)) if flip.id == id)
    page = parts.views.flip({"chosen": IDS, **PAIR, "flip": id})["html"]
    rows = re.findall(r'<tr><th scope="row">(\d)</th>(.*?)</tr>', page)
    assert [int(t) for t, _ in rows] == list(range(1, len(flip.a.steps) + 1))
    for (_, row), mine, theirs in zip(rows, flip.a.steps, flip.b.steps, strict=True):
        shown = re.findall(r"cmp-(right|wrong)", row)
        assert shown == ["right" if step.score.is_right else "wrong" for step in (mine, theirs)]


def test_what_a_model_wrote_stays_text(parts):
    page = parts.views.flip({"chosen": IDS, **PAIR, "flip": flip_of(parts)})["html"]
    assert ATTACK not in page and html.escape(ATTACK, quote=True) in page


@pytest.mark.parametrize(
    ("name", "ask", "words"),
    [
        ("flips", {"chosen": IDS, **PAIR, "right": "nobody"}, "neither weak nor strong"),
        ("flips", {"chosen": IDS, **PAIR, "offset": -1}, "offset"),
        ("flips", {"chosen": IDS, **PAIR, "a": 3}, "a: '3' is not a text"),
        ("flip", {"chosen": IDS, **PAIR, "flip": "e/9"}, "is no flip"),
        ("flip", {"chosen": "weak", **PAIR}, "chosen: give a list"),
        ("compare", {"chosen": [1, 2]}, "chosen: give a list"),
        ("report", {"chosen": IDS, "form": "exe"}, "report 'exe' is unknown"),
        ("open", {"name": "nothing"}, "no comparison is saved"),
        ("look", [], "must be an object"),
    ],
)
def test_a_bad_question_is_answered_in_words(parts, name, ask, words):
    assert words in getattr(parts.views, name)(ask)["error"]


def test_reports_are_named_after_what_is_shown(parts):
    parts.desk.save("first", CHOICE, "")
    answer = parts.views.report({"chosen": IDS, "form": "md", "shown": "first"})
    assert answer["name"] == "first.md" and answer["text"].startswith("# Comparison")
    assert parts.views.report({"chosen": IDS, "form": "csv"})["name"] == "comparison.csv"


# ---------------------------------------------------------------- changing


def test_a_flip_is_queued_once_with_the_evaluation_that_is_wrong(parts):
    ask = event(act="queue", chosen=IDS, **PAIR, flip=flip_of(parts, "weak"))
    assert "1 sample waits for an annotator" in parts.handlers.act(ask, SimpleNamespace(username=None))
    assert "already" in parts.handlers.act(ask, NOBODY)
    (row,) = parts.desk.queue.list()
    assert (row.evaluation, row.reason) == (IDS[1], "strong is wrong where weak is right")
    assert "in the annotation queue" in parts.views.flip({"chosen": IDS, **PAIR, "flip": row.sample_id})["html"]
    assert "✓ queued" in parts.views.flips({"chosen": IDS, **PAIR, "right": "weak"})["html"]
    assert "taken out" in parts.handlers.act(event(act="unqueue", number=row.number), NOBODY)
    assert parts.desk.queue.count() == 0


def test_a_comparison_is_saved_opened_and_deleted(parts):
    message = parts.handlers.act(event(act="save", name=" first ", chosen=IDS, allow=True), NOBODY)
    assert 'data-turn-to="first"' in message
    assert parts.views.open({"name": "first"}) == {"chosen": IDS, "allow": True}
    assert "?comparison=first" in parts.views.look({})["parts"]["saved"]["html"]
    assert "exists: choose another" in parts.handlers.act(event(act="save", name="first", chosen=IDS), NOBODY)
    assert "is deleted" in parts.handlers.act(event(act="delete", name="first"), NOBODY)
    assert "No comparison is saved as first" in parts.handlers.act(event(act="delete", name="first"), NOBODY)


def form(**changes: Any) -> dict[str, Any]:
    return {"name": "fresh", "protocol": "grounded", "planner": "random", "data": "simulator", "agents": ["elements"],
            "episodes": "2", **changes}  # fmt: skip


def test_the_plan_shows_the_command_and_launching_queues_it(parts, root):
    plan = parts.handlers.plan(event(form=form()), NOBODY)
    assert "training.cli evaluate grounded --planner random" in plan and "disabled" not in plan
    assert "evaluate-fresh is in the queue" in parts.handlers.act(event(act="launch", form=form()), NOBODY)
    row = parts.runs.row("evaluate-fresh")
    assert (row.stage, row.state) == ("evaluate", "waiting")
    assert html.unescape(plan).count(parts.runs.command("evaluate-fresh")) == 1
    assert "evaluate-fresh" in parts.views.look({})["parts"]["runs"]["html"]
    assert "exists" in parts.handlers.act(event(act="launch", form=form()), NOBODY)


def test_an_on_policy_benchmark_asks_for_tasks_alone(parts):
    plan = html.unescape(parts.handlers.plan(event(form=form(protocol="simulator", planner="random")), NOBODY))
    assert "the baseline 'random' cannot act here" in plan
    plan = html.unescape(parts.handlers.plan(event(form=form(protocol="tools", planner="oracle", split="x")), NOBODY))
    assert "split 'x'" in plan and "disabled" in plan
    wanted = form(protocol="tools", planner="oracle", mode="reactive", horizon="3", data="gone")
    plan = html.unescape(parts.handlers.plan(event(form=wanted), NOBODY))
    assert "evaluate tools --planner oracle --split test" in plan and "--reactive" in plan and "disabled" not in plan
    assert "--horizon" not in plan and "gone" not in plan


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "name: give the evaluation a name"),
        ({"name": "a/b"}, "is not allowed"),
        ({"protocol": "best"}, "benchmark 'best' is unknown"),
        ({"planner": ""}, "planner: name a checkpoint"),
        ({"data": ""}, "data: name a file"),
        ({"episodes": "two"}, "episodes 'two' is not allowed"),
        ({"seed": "-1"}, "seed '-1' is not allowed"),
        ({"mode": "both"}, "mode 'both'"),
        ({"device": "tpu"}, "devices"),
        ({"agents": "elements"}, "tool agents: give a list"),
        ({"data": "x" * 1001}, "a field is no text"),
        ({"data": "a\0b"}, "a field is no text"),
    ],
)
def test_a_form_with_an_error_says_which_and_launches_nothing(parts, changes, words):
    plan = html.unescape(parts.handlers.plan(event(form=form(**changes)), NOBODY))
    assert words in plan and "disabled" in plan
    assert words in html.unescape(parts.handlers.act(event(act="launch", form=form(**changes)), NOBODY))
    assert parts.runs.list() == []


def test_paths_of_the_form_become_absolute(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text("")
    (tmp_path / "planner").mkdir()
    typed = EvaluationForm.of_page(form(data="data.jsonl", planner="planner", references="refs"))
    settings = typed.draft(parts.runs, Path("evaluations")).settings
    assert settings.data == str(tmp_path / "data.jsonl") and settings.planner == str(tmp_path / "planner")
    assert settings.references == str(tmp_path / "refs") and settings.out == tmp_path / "evaluations" / "fresh"


def test_roles_decide_who_queues_saves_replaces_deletes_and_launches(parts):
    people = {role: make_person(role.name.lower(), role, "a long password") for role in Role}
    handlers = CompareHandlers(parts.desk, parts.runs, People(by_name={p.name: p for p in people.values()}))
    id = flip_of(parts)
    asks = {
        "queue": (Role.ANNOTATOR, {"chosen": IDS, **PAIR, "flip": id}),
        "save": (Role.ANNOTATOR, {"name": "mine", "chosen": IDS}),
        "unqueue": (Role.ANNOTATOR, {"number": 1}),
        "delete": (Role.OPERATOR, {"name": "mine"}),
        "launch": (Role.OPERATOR, {"form": form()}),
    }
    for act, (needed, data) in asks.items():
        for role in Role:
            message = handlers.act(event(act=act, **data), SimpleNamespace(username=role.name.lower()))
            assert ("may not" in message) == (role < needed), (act, role)
    annotator = SimpleNamespace(username="annotator")
    handlers.act(event(act="save", name="mine", chosen=IDS), annotator)
    assert parts.desk.saved.load("mine").person == "annotator"
    replace = event(act="save", name="mine", chosen=IDS, replace=True)
    assert "may not replace saved comparisons" in handlers.act(replace, annotator)
    plan = handlers.plan(event(form=form(name="x", data="/etc/hostname")), annotator)
    assert "may not launch evaluations" in plan and "Checks" not in plan  # they would tell which files there are
    assert "logged in" in handlers.act(event(act="queue"), NOBODY)


def test_a_demo_launches_nothing_and_says_why(parts, tmp_path):
    runs = RunDesk(tmp_path / "demo", tmp_path / "demo.sqlite", refusal="This is a demo.")
    handlers = CompareHandlers(parts.desk, runs, People(open_role=Role.OPERATOR))
    assert "This is a demo." in handlers.plan(event(form=form()), NOBODY)
    assert "This is a demo." in handlers.act(event(act="launch", form=form()), NOBODY)
    page = CompareViews(parts.desk, runs, tmp_path).form({})["html"]
    assert "cmp-planners" in page and str(tmp_path) not in page
    runs.close()


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"act": "fly"}, {"act": "check"}, {"act": "replace"}, {"act": ["queue"]},
     {"act": "unqueue", "number": "1"}, {"act": "save", "name": 3}, {"act": "queue", "flip": {}}],
)  # fmt: skip
def test_an_event_that_means_nothing_is_told_and_changes_nothing(parts, data):
    assert "tw-error" in parts.handlers.act(SimpleNamespace(_data=data), NOBODY)


def test_the_tab_is_built_with_nothing_offered_as_an_api(parts):
    with gr.Blocks() as demo:
        build_tab(parts.handlers, parts.views)
    assert demo.get_api_info()["named_endpoints"] == {}


def test_the_form_reads_what_a_page_sent_or_refuses_it():
    assert EvaluationForm.of_page({"name": " x "}).name == "x"
    with pytest.raises(InputError, match="did not arrive whole"):
        EvaluationForm.of_page(None)
