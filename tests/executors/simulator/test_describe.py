"""Screens in words: short, regular, different where the state differs; text that fits its box."""

from __future__ import annotations

import re

import pytest

from executors.actions import Action
from executors.simulator import (
    SPLITS,
    SimulatorExecutor,
    describe,
    fonts,
    make_task,
    record_episode,
    render,
    sample_tasks,
)
from executors.trajectory import read_trajectories, write_trajectories


def _phone(name: str, split: str = "train"):
    seed = next(k for k in range(50) if make_task(name, split, k).form == "phone")
    return SimulatorExecutor(make_task(name, split, seed), interruption_rate=0.0)


def _say(device: SimulatorExecutor) -> str:
    return describe(device.observe(with_image=False))


def _tap(device: SimulatorExecutor, label: str) -> None:
    element = next(e for e in device.observe(with_image=False).elements if e.text == label)
    device.advance(Action(type="click", point=element.box.center))


def test_a_switch_says_its_state():
    device = _phone("settings_toggle_here")
    label = device.task.plan.wants[0].label
    before = _say(device)
    _tap(device, label)
    assert re.search(rf"{label} (on|off)", before) and _say(device) != before


def test_a_field_says_its_text_and_focus():
    device = _phone("note_new")
    device.advance(Action(type="open_app", app_name="Notes"))
    _tap(device, "New")
    assert "field Title empty ," in _say(device) + " ,"
    _tap(device, "Title")
    assert "field Title empty focus" in _say(device)
    device.advance(Action(type="type", content="Tiger"))
    assert "field Title Tiger focus" in _say(device)


def test_a_long_list_says_where_there_is_more():
    device = _phone("task_done_far")
    device.advance(Action(type="open_app", app_name="Tasks"))
    assert "more below" in _say(device) and "more above" not in _say(device)
    device.advance(Action(type="scroll", direction="down"))
    assert "more above" in _say(device)


@pytest.mark.parametrize("split", SPLITS)
def test_descriptions_keep_to_45_words(split):
    for task in sample_tasks(split, 60, 4):
        for step in record_episode(task, mistake_rate=0.1, start_perturbation=2, with_images=False).steps:
            assert step.thought == describe(step.observation)
            assert len(re.findall(r"[\w:-]+", step.thought.replace(" : ", " "))) <= 45, step.thought


def test_the_vocabulary_stays_moderate():
    words = set()
    for split in SPLITS:
        for task in sample_tasks(split, 60, 6):
            for step in record_episode(task, with_images=False).steps:
                words |= set(re.findall(r"[A-Za-z0-9:-]+", f"{task.goal} {step.thought} {step.instruction}"))
    assert len(words) < 600


@pytest.mark.parametrize("split", SPLITS)
def test_no_text_is_wider_than_its_place(split, monkeypatch):
    overflows = []
    draw = render.Canvas.text

    def checked(self, text, box, colour, *, align="left", size_px=None):
        size = fonts.fitting_size(text, size_px or self.font_px, box[2] - box[0])
        if fonts.text_width(text, size) > box[2] - box[0] or size < fonts.MIN_TEXT_PX:
            overflows.append((text, box))
        draw(self, text, box, colour, align=align, size_px=size_px)

    monkeypatch.setattr(render.Canvas, "text", checked)
    for task in sample_tasks(split, 40, 8):
        record_episode(task, mistake_rate=0.1, start_perturbation=1)
    assert overflows == []


def test_an_episode_survives_the_round_trip_to_disk(tmp_path):
    trajectory = record_episode(make_task("chat_code_to_note", "train", 3), mistake_rate=0.2)
    write_trajectories(tmp_path / "episodes.jsonl", [trajectory])
    (back,) = read_trajectories(tmp_path / "episodes.jsonl")
    assert [s.thought for s in back.steps] == [describe(s.observation) for s in back.steps]
    assert back.meta == trajectory.meta and back.goal == trajectory.goal
    assert back.steps[0].observation.load_image().tobytes() == trajectory.steps[0].observation.load_image().tobytes()
