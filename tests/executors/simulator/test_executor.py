"""The simulator as a device: judging by state, elements that can be hit, errors, determinism."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from executors.actions import Action, Space
from executors.errors import ExecutorError, InputError
from executors.geometry import BoxNorm, PointNorm
from executors.simulator import (
    SPLITS,
    SimulatorExecutor,
    describe,
    list_tasks,
    make_task,
    oracle_action,
    record_episode,
    sample_tasks,
)
from executors.simulator.executor import hit
from executors.simulator.widgets import FORM_SIZES_PX

_DONE, _GIVE_UP = Action(type="finished"), Action(type="call_user")


def _device(name: str, split: str = "train", seed: int = 1, form: str | None = None, rate: float = 0.0):
    while form is not None and make_task(name, split, seed).form != form:
        seed += 1
    return SimulatorExecutor(make_task(name, split, seed), interruption_rate=rate)


def _solve(device: SimulatorExecutor) -> None:
    while not device.is_done:
        device.advance(oracle_action(device.world, device.task)[0])


def _find(device: SimulatorExecutor, label: str, role: str | None = None):
    return next(
        e for e in device.observe(with_image=False).elements
        if e.text == label and e.is_clickable and role in (None, e.role)
    )


def _act(device: SimulatorExecutor, label: str, kind: str = "click", role: str | None = None) -> bool:
    return device.advance(Action(type=kind, point=_find(device, label, role).box.center))


def test_screenshots_have_the_size_of_their_form():
    for form, size in FORM_SIZES_PX.items():
        image = _device("settings_toggle", form=form).observe().load_image()
        assert image.size == size and image.mode == "RGB"
        assert size[0] % 32 == size[1] % 32 == 0


def test_spaces_follow_the_form():
    assert _device("settings_toggle", form="phone").spaces == {Space.MOBILE}
    assert _device("settings_toggle", form="desktop").spaces == {Space.COMPUTER}


def test_finishing_early_fails():
    device = _device("settings_toggle")
    assert device.is_success() is False
    device.advance(_DONE)
    assert device.is_success() is False


def test_giving_up_on_a_possible_task_fails():
    device = _device("settings_toggle")
    device.advance(_GIVE_UP)
    assert device.is_success() is False


def test_claiming_an_impossible_task_done_fails():
    device = _device("setting_missing")
    device.advance(_DONE)
    assert device.is_success() is False


def test_an_impossible_task_rightly_given_up_succeeds_at_once():
    device = _device("setting_missing")
    device.advance(_GIVE_UP)
    assert device.is_success() is True


def test_another_path_to_the_goal_succeeds():
    device = _device("contact_delete", form="phone")  # the oracle deletes on the contact's page; here by its menu
    name = device.world.data["Contacts"].record(device.task.plan.wants[0].record_id).title
    device.advance(Action(type="open_app", app_name="Contacts"))
    _act(device, name, "long_press")
    _act(device, "Delete", role="option")
    _act(device, "Delete", role="button")
    device.advance(_DONE)
    assert device.is_success() is True


def test_destroying_another_record_fails():
    device = _device("contact_delete", form="phone")
    wanted = device.task.plan.wants[0].record_id
    other = next(r for r in device.world.data["Contacts"].records[:4] if r.id != wanted)
    device.advance(Action(type="open_app", app_name="Contacts"))
    _act(device, other.title, "long_press")
    _act(device, "Delete", role="option")
    _act(device, "Delete", role="button")
    name = device.world.data["Contacts"].record(wanted).title
    _act(device, name, "long_press")
    _act(device, "Delete", role="option")
    _act(device, "Delete", role="button")
    device.advance(_DONE)
    assert device.is_success() is False


def test_a_record_lost_in_an_unrelated_app_fails():
    device = _device("settings_toggle")
    device.world.data["Notes"].records.pop()
    _solve(device)
    assert device.is_success() is False


@pytest.mark.parametrize("split", SPLITS)
def test_elements_are_exactly_what_can_be_hit(split):
    for template in list_tasks(split)[::3]:
        device = _device(template.name, split, seed=7, rate=0.1)
        while not device.is_done:
            elements = device.observe(with_image=False).elements
            clickable = [e for e in elements if e.is_clickable]
            for element in clickable:
                placed = hit(device.world, element.box.center)
                assert placed is not None and (placed.widget.label, placed.widget.role) == (element.text, element.role)
            assert len({(e.role, e.text) for e in clickable}) == len(clickable)
            for element in elements:
                box = element.box
                assert 0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1
            grid = {
                (p.widget.role, p.widget.label)
                for y in range(0, 100, 2)
                for x in range(1, 100, 6)
                if (p := hit(device.world, PointNorm(x / 100, y / 100))) is not None
            }
            assert grid <= {(e.role, e.text) for e in clickable}
            device.advance(oracle_action(device.world, device.task)[0])


@pytest.mark.parametrize("split", SPLITS)
def test_clickable_elements_do_not_overlap(split):
    for task in sample_tasks(split, 12, 3):
        for step in record_episode(task, interruption_rate=0.1, with_images=False).steps:
            boxes = [e.box for e in step.observation.elements if e.role != "hint"]
            for i, a in enumerate(boxes):
                for b in boxes[i + 1 :]:
                    overlap_x = min(a.right, b.right) - max(a.left, b.left)
                    overlap_y = min(a.bottom, b.bottom) - max(a.top, b.top)
                    assert overlap_x <= 1e-9 or overlap_y <= 1e-9


def test_clicking_on_nothing_has_no_effect():
    device = _device("settings_toggle", form="phone")
    assert device.execute(Action(type="click", point=PointNorm(0.001, 0.001))).had_effect is False


def test_typing_needs_a_focused_field_and_replaces_its_text():
    device = _device("note_new", form="phone")
    device.advance(Action(type="open_app", app_name="Notes"))
    assert device.advance(Action(type="type", content="Tiger")) is False
    _act(device, "New")
    _act(device, "Title")
    assert _find(device, "Title").is_focused
    assert device.advance(Action(type="type", content="Tiger")) and device.advance(Action(type="type", content="Eagle"))
    assert _find(device, "Title").value == "Eagle" and _find(device, "Title").is_focused


def _open_form(form: str) -> SimulatorExecutor:
    """A form for a new contact, with the fields Name and Phone."""
    device = _device("contact_new", form=form)
    _act(device, "Contacts", "click" if form == "phone" else "left_double")
    _act(device, "New")
    return device


def test_typing_what_a_field_holds_already_has_no_effect():
    device = _open_form("phone")
    _act(device, "Name")
    assert [device.advance(Action(type="type", content=text)) for text in ("", "Anna", "Anna", "")] == [
        False, True, False, True,
    ]


@pytest.mark.parametrize("form", FORM_SIZES_PX)
def test_typing_at_a_point_clicks_there_first(form):
    device = _open_form(form)
    _act(device, "Name")
    assert device.advance(Action(type="type", content="471", point=_find(device, "Phone").box.center))
    assert (_find(device, "Name").value, _find(device, "Phone").value) == ("", "471")
    assert _find(device, "Phone").is_focused
    assert device.advance(Action(type="type", content="471", point=_find(device, "Name").box.center))
    assert _find(device, "Name").value == "471"


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\r\n", "\t", "\x00", "\ud800", "\u202e", "😀 é 你好 مرحبا",
     pytest.param("W" * 10_000, id="long"), pytest.param("W" * 1_000_001, id="longer than Pillow draws")],
)  # fmt: skip
def test_any_text_can_be_typed_and_seen(text):
    device = _open_form("desktop")
    _act(device, "Name")
    device.execute(Action(type="type", content=text))
    _act(device, "Save")
    assert device.observe().load_image().size == FORM_SIZES_PX["desktop"]
    assert describe(device.observe(with_image=False))


@pytest.mark.parametrize("form", FORM_SIZES_PX)
def test_a_long_text_stays_inside_its_field_and_its_dialog(form):
    device = _open_form(form)
    _act(device, "Name")
    field = _find(device, "Name").box
    beside = [(field.right, field.top, 1.0, field.bottom), (0.0, field.top, field.left, field.bottom)]
    before = [_pixels(device, box) for box in beside]
    device.advance(Action(type="type", content="Wagenrennen " * 20))
    assert [_pixels(device, box) for box in beside] == before
    _act(device, "Save")
    row = next(e for e in device.observe(with_image=False).elements if e.text.startswith("Wagenrennen"))
    _act(device, row.text, "long_press" if form == "phone" else "right_single")
    assert device.world.dialog is not None
    _act(device, "Delete")
    boxes = [e.box for e in device.observe(with_image=False).elements]
    assert all(0 <= box.left < box.right <= 1 for box in boxes)
    _act(device, "Delete")
    assert not any(r.title.startswith("Wagenrennen") for r in device.world.data["Contacts"].records)


def _pixels(device: SimulatorExecutor, box: tuple[float, float, float, float]) -> bytes:
    image = device.observe().load_image()
    width, height = image.size
    return image.crop(tuple(round(edge * side) for edge, side in zip(box, (width, height) * 2, strict=True))).tobytes()


def test_opening_an_app_has_an_effect_where_it_shows_something_else():
    device = _device("task_done_far", form="phone")
    opened = Action(type="open_app", app_name="Tasks")
    assert [device.advance(opened), device.advance(opened)] == [True, False]
    assert device.advance(Action(type="scroll", direction="down")) and device.advance(opened)
    _act(device, "New")
    assert device.advance(opened) and not device.advance(Action(type="open_app", app_name="tasks"))


@pytest.mark.parametrize("key", ["esc", "escape"])
def test_escape_closes_what_lies_over_the_screen_and_nothing_else(key):
    device = _device("contact_delete", form="desktop")
    _act(device, "Contacts", "left_double")
    escape = Action(type="hotkey", key=key)
    assert not device.advance(escape)
    row = next(e for e in device.observe(with_image=False).elements if e.role == "row")
    _act(device, row.text, "right_single")
    assert device.world.dialog is not None and device.advance(escape)
    assert device.world.dialog is None and device.world.app == "Contacts"


def test_desktop_icons_open_by_double_click_only():
    device = _device("settings_toggle", form="desktop")
    _act(device, "Settings")
    assert device.world.app is None and _find(device, "Settings").value == "selected"
    _act(device, "Settings", "left_double")
    assert device.world.app == "Settings"


@pytest.mark.parametrize(
    ("form", "action", "match"),
    [
        ("desktop", Action(type="press_home"), "desktop does not take press_home"),
        ("phone", Action(type="left_double", point=PointNorm(0.5, 0.5)), "phone does not take left_double"),
        ("phone", Action(type="click"), "field 'point'"),
        ("phone", Action(type="click", point=PointNorm(1.5, 0.5)), "off the image"),
        ("phone", Action(type="tool_call", name="x", arguments={}), "does not take tool_call"),
    ],
)
def test_actions_a_device_does_not_take_raise_with_their_boundary(form, action, match):
    with pytest.raises(ExecutorError, match=match) as caught:
        _device("settings_toggle", form=form).execute(action)
    assert caught.value.boundary == "execute"


def test_acting_after_the_end_raises_until_reset():
    device = _device("settings_toggle")
    device.execute(_DONE)
    with pytest.raises(ExecutorError, match="has ended"):
        device.execute(_DONE)
    device.reset()
    assert device.is_done is False


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_an_interruption_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(InputError, match="interruption_rate"):
        SimulatorExecutor(make_task("settings_toggle", "train", 1), interruption_rate=rate)


def test_a_popup_covers_the_screen_and_can_be_dismissed():
    device = _device("settings_toggle", rate=1.0)
    device.advance(Action(type="wait"))
    elements = device.observe(with_image=False).elements
    assert elements[0].role == "dialog" and {e.role for e in elements[1:]} == {"button"}
    device.world.interruption_rate = 0.0
    _act(device, elements[1].text)
    assert device.world.popup is None and _find(device, "Settings", "icon")


def _digest(interruption_rate: float = 0.2) -> str:
    hasher = hashlib.sha256()
    for split in SPLITS:
        for task in sample_tasks(split, 3, 9):
            trajectory = record_episode(task, 2, interruption_rate=interruption_rate, mistake_rate=0.2)
            for step in trajectory.steps:
                hasher.update(step.observation.load_image().tobytes())
                hasher.update(f"{step.instruction}|{step.thought}|{step.action.to_json()}".encode())
    return hasher.hexdigest()


def test_same_seed_gives_the_same_bytes_in_another_process():
    code = "from tests.executors.simulator.test_executor import _digest; print(_digest())"
    root = Path(__file__).parents[3]
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(root)},
        capture_output=True, text=True, check=True,
    )
    assert other.stdout.strip() == _digest()


def test_slider_takes_the_value_where_the_drag_ends():
    device = _device("settings_slider_near", form="phone")
    box: BoxNorm | None = None
    while box is None:
        action, _, target = oracle_action(device.world, device.task)
        box = target if action.type == "drag" else None
        if box is None:
            device.advance(action)
    label = device.task.plan.wants[0].label
    y = box.center.y
    end = PointNorm(box.left + 0.3 * (box.right - box.left), y)
    device.advance(Action(type="drag", start_point=box.center, end_point=end))
    assert _find(device, label).value == "30"
