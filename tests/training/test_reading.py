"""Reading lessons: the piece shows the elements that the answer names, whole, on a canvas that fits the processor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.geometry import BoxNorm
from executors.simulator import record_episode, sample_tasks
from executors.trajectory import Element
from training.config import ForecastConfig
from training.reading import (
    _MAX_EQUAL,
    MIN_PIXELS,
    RESIZE_FACTOR_PX,
    ReadingRecord,
    _answer_ids,
    _lay_out,
    _neighbours,
    build_reading_records,
    words_of,
)
from training.samples import Sample, build_samples, decode_png
from training.tiny import build_processor


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    trajectories = [record_episode(task, interruption_rate=0.0) for task in sample_tasks("train", 12, 0)]
    return list(build_samples(trajectories, ForecastConfig(prompt_style="compact")))


@pytest.fixture(scope="module")
def processor() -> Any:
    return build_processor(["tap the row button switch icon Read"], 400)


@pytest.fixture(scope="module")
def lessons(samples: list[Sample], processor: Any) -> list[ReadingRecord]:
    return list(build_reading_records(samples, processor, seed=0))


def test_lessons_cover_the_elements_of_the_screens(lessons, samples, processor):
    told = " ".join(processor.tokenizer.decode(lesson.completion_ids) for lesson in lessons)
    missing = {e.text for s in samples for e in s.observation.elements if e.text and e.text not in told}
    assert missing == set()


def test_piece_is_pasted_unchanged(lessons):
    lesson = next(item for item in lessons if min(item.offset_px) > 0)
    left, top = lesson.offset_px
    piece = decode_png(lesson.png)
    assert lesson.load_image().crop((left, top, left + piece.width, top + piece.height)).tobytes() == piece.tobytes()


def test_canvas_is_never_resized_by_the_processor(lessons, processor):
    for lesson in lessons[:20]:
        grid = processor.image_processor(images=[lesson.load_image()], return_tensors="pt")["image_grid_thw"][0]
        assert (int(grid[2]) * 16, int(grid[1]) * 16) == lesson.canvas_px


def test_equal_answers_are_limited(lessons):
    answers = [lesson.completion_ids for lesson in lessons]
    assert max(map(answers.count, set(answers))) <= _MAX_EQUAL


def test_lessons_are_the_same_for_a_seed_and_differ_between_seeds(samples, processor, lessons):
    again = list(build_reading_records(samples, processor, seed=0))
    other = list(build_reading_records(samples, processor, seed=1))
    assert [item.completion_ids for item in again] == [item.completion_ids for item in lessons]
    assert [item.completion_ids for item in other] != [item.completion_ids for item in lessons]


def test_empty_margin_of_a_row_is_cut_off_and_that_of_a_switch_is_kept(lessons, processor):
    def width(role: str) -> int:
        answers = [(item, processor.tokenizer.decode(item.completion_ids)) for item in lessons]
        return max(i.canvas_px[0] for i, a in answers if a.startswith(f" {role}") and " , " not in a)

    assert width("row") <= 128 < width("switch")


def test_elements_far_apart_are_not_read_together():
    def at(top: float) -> Element:
        return Element(role="row", text=str(top), box=BoxNorm(0, top, 1, top + 0.1))

    assert _neighbours([at(0.0), at(0.11), at(0.5)], 0, 3) == [at(0.0), at(0.11)]


def test_state_and_focus_are_part_of_the_answer():
    box = BoxNorm(0, 0, 1, 1)
    field = Element(role="field", text="Title", value="River", is_focused=True, box=box)
    assert words_of(field) == ("field", "Title River focus")


def test_label_is_spelled_before_it_is_said(processor):
    element = Element(role="row", text="Ab 1", box=BoxNorm(0, 0, 1, 1))
    ids = list(_answer_ids([element, element], processor.tokenizer))
    letters = [processor.tokenizer(letter)["input_ids"][0] for letter in "Ab 1"]
    start = ids.index(letters[0])
    assert ids[start : start + 4] == letters
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == " rowAb 1 Ab 1 , rowAb 1 Ab 1"


@given(st.integers(0, 400), st.integers(0, 400), st.integers(4, 500), st.integers(4, 500))
def test_every_piece_fits_its_canvas_and_keeps_its_place_among_the_patches(left, top, width, height):
    canvas, offset = _lay_out((left, top, left + width, top + height))
    assert all(side % RESIZE_FACTOR_PX == 0 for side in canvas) and canvas[0] * canvas[1] >= MIN_PIXELS
    assert offset == (left % RESIZE_FACTOR_PX, top % RESIZE_FACTOR_PX)
    assert all(o + p <= c for o, p, c in zip(offset, (width, height), canvas, strict=True))
