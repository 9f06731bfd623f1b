"""The Train tab's handlers, called as plain functions on a real desk that starts nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from executors.errors import InputError
from tests.workbench.train_helpers import make_run
from training.config_reading import to_dict
from training.presets import get_preset
from workbench.runs.configs import ConfigShelf
from workbench.runs.desk import RunDesk
from workbench.screen import safe_text
from workbench.tabs.train import PLOTLY, TrainHandlers
from workbench.train_form import flatten_values
from workbench.train_launcher import LaunchForm

NOBODY = SimpleNamespace(username=None)


@pytest.fixture
def desk(tmp_path: Path) -> RunDesk:
    """A desk whose queue is not watched, so nothing starts."""
    return RunDesk(tmp_path / "runs", tmp_path / "runs" / "queue.sqlite")


@pytest.fixture
def handlers(desk: RunDesk, tmp_path: Path) -> TrainHandlers:
    """Handlers for everyone."""
    return TrainHandlers(desk, ConfigShelf(tmp_path / "configs"))


def event(**data: Any) -> Any:
    """What a page sends."""
    return SimpleNamespace(_data=data)


def form(stage: str = "sft", **changes: Any) -> dict[str, Any]:
    """The form of the smoke preset as a page sends it."""
    values = flatten_values(to_dict(getattr(get_preset("smoke"), stage))) if stage != "pipeline" else {}
    typed = {key: value if isinstance(value, bool) or value is None else str(value) for key, value in values.items()}
    typed |= changes.pop("values", {})
    fields = dict(stage=stage, preset="smoke", name="one", devices=["cpu"], num_processes="1", seed="0", after="")
    return {**fields, **changes, "values": typed}


def test_the_form_opens_on_a_stage_with_a_preset_and_a_plan(handlers: TrainHandlers) -> None:
    page, plan = handlers.choose(event(form={}), NOBODY)
    assert 'value="sft" checked' in page and "training.cli train sft" in plan


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_stage_that_needs_a_start_says_so(handlers: TrainHandlers, stage: str) -> None:
    page, plan = handlers.choose(event(form={"stage": stage, "preset": "smoke"}), NOBODY)
    assert 'data-wrong="model"' in plan and "checkpoint folder" in plan


def test_choosing_a_preset_fills_its_values(handlers: TrainHandlers) -> None:
    page, _ = handlers.choose(event(form={"stage": "sft", "preset": "smoke"}), NOBODY)
    assert 'name="optim.num_steps" data-preset="30"' in page


def test_a_reloaded_page_gets_its_typed_values_back(handlers: TrainHandlers) -> None:
    typed = form(values={"optim.num_steps": "7"})
    page, plan = handlers.choose(event(form=typed, keeps_values=True), NOBODY)
    assert 'value="7"' in page and "optim.num_steps=7" in plan


def test_a_form_that_the_browser_kept_from_another_version_still_opens(handlers: TrainHandlers) -> None:
    old = form(values={"optim.removed_setting": "1"})
    page, plan = handlers.choose(event(form=old, keeps_values=True), NOBODY)
    assert "removed_setting" not in page and "training.cli" in plan
    for broken in ({**old, "stage": "stage9"}, {**old, "preset": "gone"}, {"stage": 7, "values": {"x": 1}}):
        page, plan = handlers.choose(event(form=broken, keeps_values=True), NOBODY)
        assert 'value="sft" checked' in page


def test_the_command_shown_is_the_one_that_is_launched(handlers: TrainHandlers, desk: RunDesk) -> None:
    typed = form(values={"optim.num_steps": "7"})
    plan = handlers.preview(event(form=typed), NOBODY)
    message, *_ = handlers.act(event(act="launch", form=typed), NOBODY)
    assert 'data-turn-to="one"' in message
    command = desk.command("one")
    assert "optim.num_steps=7" in command and safe_text(command, 9999) in plan
    assert "optim.num_steps" in plan.split("Difference")[1]


def test_a_pipeline_is_three_runs_each_after_the_other(handlers: TrainHandlers, desk: RunDesk) -> None:
    message, *_ = handlers.act(event(act="launch", form=form("pipeline", name="all", seed="3")), NOBODY)
    assert "and 2 after it" in message
    assert [row.stage for row in desk.list()] == ["sft", "stage1", "stage2"]
    assert desk.config("all-sft")["optim"]["seed"] == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../x"}, "name"),
        ({"name": "a; rm -rf /"}, "name"),
        ({"values": {"optim.num_step": "3"}}, "did you mean optim.num_steps"),
        ({"values": {"optim.num_steps": "many"}}, "num_steps"),
        ({"devices": ["gpu0; reboot"]}, "devices"),
        ({"devices": "cpu"}, "devices"),
        ({"num_processes": "2.5"}, "number of processes"),
        ({"stage": "no_such"}, "stage"),
        ({"preset": "../../etc/passwd"}, "preset"),
        ({"name": 7}, "form"),
    ],
)
def test_a_hostile_form_is_refused_in_one_sentence_and_queues_nothing(
    handlers: TrainHandlers, desk: RunDesk, changes: dict[str, Any], words: str
) -> None:
    typed = {**form(), **{k: v for k, v in changes.items() if k != "values"}}
    typed["values"] = {**typed["values"], **changes.get("values", {})}
    message, *_ = handlers.act(event(act="launch", form=typed), NOBODY)
    assert "tw-error" in message and words in message and desk.list() == []
    assert "data-act=\"launch\" disabled" in handlers.preview(event(form=typed), NOBODY)


def test_a_model_path_with_shell_characters_is_only_a_word_of_the_command(handlers: TrainHandlers) -> None:
    plan = handlers.preview(event(form=form("stage1", values={"model": "$(touch /tmp/x); `id`"})), NOBODY)
    assert "--set &#x27;model=$(touch /tmp/x); `id`&#x27;" in plan


@pytest.mark.parametrize("data", [{}, {"act": 7}, {"act": "__init__"}, {"act": "close"}, {"act": "hold", "run": 3}])
def test_an_unknown_button_does_nothing(handlers: TrainHandlers, data: dict[str, Any]) -> None:
    message, *_ = handlers.act(event(**data), NOBODY)
    assert "tw-error" in message
    assert "tw-error" in handlers.act(SimpleNamespace(_data=None), NOBODY)[0]


def test_the_queue_is_held_released_reordered_and_cancelled(handlers: TrainHandlers, desk: RunDesk) -> None:
    for name in ("one", "two"):
        handlers.act(event(act="launch", form=form(name=name)), NOBODY)
    handlers.act(event(act="reorder", run="two", place=1), NOBODY)
    assert [row.id for row in desk.list()] == ["two", "one"]
    handlers.act(event(act="hold", run="two"), NOBODY)
    assert desk.row("two").state == "held"
    handlers.act(event(act="release", run="two"), NOBODY)
    handlers.act(event(act="cancel", run="one"), NOBODY)
    assert (desk.row("two").state, desk.row("one").state) == ("waiting", "cancelled")
    assert "place" in handlers.act(event(act="reorder", run="two", place="x"), NOBODY)[0]


def test_a_run_is_cloned_repeated_and_chained_into_the_form(handlers: TrainHandlers, desk: RunDesk) -> None:
    make_run(desk.root, "first", stage="stage1")
    message, page, plan = handlers.act(event(act="again", run="first"), NOBODY)
    assert 'data-turn-to="new"' in message and 'name="optim.seed" data-preset' in page and 'value="1"' in page
    _, page, plan = handlers.act(event(act="chain", run="first"), NOBODY)
    assert 'value="stage2" checked' in page and "first/final" in plan
    _, page, plan = handlers.act(event(act="clone", run="first"), NOBODY)
    assert "train stage1" in plan
    assert "tw-error" in handlers.act(event(act="clone", run="gone"), NOBODY)[0]


def test_settings_are_saved_loaded_replaced_and_deleted(handlers: TrainHandlers) -> None:
    typed = form(values={"optim.num_steps": "7"})
    message, page, _ = handlers.act(event(act="save-config", form=typed, name="mine"), NOBODY)
    assert "saved as mine" in message and '<option value="mine">' in page
    assert "exists" in handlers.act(event(act="save-config", form=typed, name="mine"), NOBODY)[0]
    page, plan = handlers.choose(event(config="mine"), NOBODY)
    assert 'value="7"' in page and "optim.num_steps=7" in plan
    handlers.act(event(act="save-config", form=form(), name="mine", replace=True), NOBODY)
    assert "deleted" in handlers.act(event(act="delete-config", config="mine"), NOBODY)[0]
    assert "tw-error" in handlers.act(event(act="delete-config", config="../x"), NOBODY)[0]


def test_who_may_not_launch_is_told_and_the_server_decides(desk: RunDesk, tmp_path: Path) -> None:
    def check(name: str | None, what: str) -> None:
        if name != "ada":
            raise InputError(f"a viewer may not {what}")

    handlers = TrainHandlers(desk, ConfigShelf(tmp_path / "configs"), check)
    bob, ada = SimpleNamespace(username="bob"), SimpleNamespace(username="ada")
    assert "a viewer may not" in handlers.act(event(act="launch", form=form()), bob)[0]
    plan = handlers.preview(event(form=form()), bob)
    assert "a viewer may not launch training" in plan and "training.cli" in plan and "Checks" not in plan
    assert desk.list() == []
    assert "in the queue" in handlers.act(event(act="launch", form=form()), ada)[0]


def test_a_demo_refuses_every_change_and_keeps_the_preview(tmp_path: Path) -> None:
    desk = RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite", refusal="This is a demo.")
    make_run(desk.root, "first", state="finished")
    handlers = TrainHandlers(desk, ConfigShelf(tmp_path / "configs"))
    for data in (
        {"act": "launch", "form": form()}, {"act": "resume", "run": "first"}, {"act": "kill", "run": "first"},
        {"act": "save-config", "form": form(), "name": "x"}, {"act": "delete-config", "config": "x"},
    ):  # fmt: skip
        assert "This is a demo." in handlers.act(event(**data), NOBODY)[0]
    plan = handlers.preview(event(form=form()), NOBODY)
    assert "This is a demo." in plan and "training.cli train sft" in plan and 'data-act="launch" disabled' in plan


def test_plotly_comes_from_the_installed_wheel() -> None:
    assert PLOTLY.is_file() and PLOTLY.stat().st_size > 1_000_000


def test_a_form_that_is_no_form_is_refused() -> None:
    for data in (None, [], {"devices": [1]}, {"values": []}, {"name": "x" * 1000}):
        with pytest.raises(InputError):
            LaunchForm.of_page(data)


def test_the_tab_builds_and_offers_no_endpoint(handlers: TrainHandlers, desk: RunDesk) -> None:
    from workbench.tabs.train import build_tab
    from workbench.train_views import TrainViews

    with gr.Blocks() as demo:
        build_tab(handlers, TrainViews(desk))
    assert {fn.api_visibility for fn in demo.fns.values()} == {"private"}
