"""Reading lessons: letters and words are told where they are drawn, and a head learns them from image tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from executors.simulator import record_drawings, record_episode, sample_tasks
from executors.simulator.render import Drawing
from training.config import DataConfig, TinyModelConfig
from training.reading import (
    CELL_PX,
    NUM_LETTERS,
    NUM_SLOTS,
    Lesson,
    Screen,
    collate_lessons,
    load_screens,
    plan_lessons,
)
from training.reading_head import ReadingHead, attach_reading_head, detach_reading_head, read
from training.samples import encode_png
from training.tiny import build_model, build_processor

DATA = DataConfig(num_episodes=6, mistake_rate=0.2, interruption_rate=0.3)


@pytest.fixture(scope="module")
def screens() -> list[Screen]:
    return list(load_screens(DATA))


@pytest.fixture(scope="module")
def processor(screens: list[Screen]) -> Any:
    """Its tokenizer has most words of the screens as one token each."""
    return build_processor([f" {text.text}" for screen in screens for text in screen.texts], 1000)


def test_drawings_are_the_screenshots_of_the_recorded_episode() -> None:
    rates = {"interruption_rate": 0.3, "mistake_rate": 0.2}
    for task in sample_tasks("train", 8, 1):
        drawings = list(record_drawings(task, 3, **rates))
        steps = record_episode(task, 3, **rates).steps
        assert [d.image.tobytes() for d in drawings] == [s.observation.image.tobytes() for s in steps]


def test_every_label_on_the_screen_is_among_the_texts_and_covered_ones_are_not() -> None:
    num_dialogs = 0
    for task in sample_tasks("train", 12, 0):
        drawings = record_drawings(task, interruption_rate=0.5)
        for drawing, step in zip(drawings, record_episode(task, interruption_rate=0.5).steps, strict=True):
            elements = [e for e in step.observation.elements if e.role != "hint" and e.text]
            drawn = Counter(text.text for text in drawing.texts)
            assert not {e.text for e in elements} - set(drawn)
            if any(e.role == "dialog" for e in elements):
                num_dialogs += 1
                width, height = drawing.image.size
                dialog = next(e for e in elements if e.role == "dialog").box
                middle = [t for t in drawing.texts if dialog.top * height <= t.top < dialog.bottom * height
                          and dialog.left * width <= t.left < dialog.right * width]  # fmt: skip
                assert {t.text for t in middle} == {next(e for e in elements if e.role == "dialog").text}
    assert num_dialogs > 3


def test_letters_are_told_where_there_is_ink(screens: list[Screen]) -> None:
    """Around the middle of a letter the picture is not plain; a point or a dash may lie below it."""
    num_letters = num_plain = 0
    for lesson in plan_lessons(screens, num_lessons=40, seed=1):
        image = lesson.image().convert("L")
        for token, slot, letter in lesson.glyphs(*image.size):
            assert 0 <= slot < NUM_SLOTS and 0 <= letter < NUM_LETTERS
            x = token % (image.width // CELL_PX) * CELL_PX + slot % 8 * 4 + 2
            y = token // (image.width // CELL_PX) * CELL_PX + slot // 8 * 4 + 2
            low, high = image.crop((x - 5, y - 8, x + 5, y + 8)).getextrema()
            num_letters += 1
            num_plain += high - low < 25
    assert num_letters > 1000
    assert num_plain / num_letters < 0.02


def test_zoom_and_shift_move_letters_and_words_alike(screens: list[Screen]) -> None:
    screen = max(screens, key=lambda s: len(s.texts))
    plain, moved = Lesson(screen=screen), Lesson(screen=screen, shift_px=(CELL_PX, 0))
    width, height = plain.image().size
    assert {(token + 1, slot, letter) for token, slot, letter in plain.glyphs(width, height)
            if token % (width // CELL_PX) < width // CELL_PX - 1} == set(moved.glyphs(width, height))  # fmt: skip
    double = Lesson(screen=screen, zoom=2.0)
    assert {word for _, word in double.words(2 * width, 2 * height)} == {word for _, word in plain.words(width, height)}
    assert len(list(double.words(width, height))) < len(list(plain.words(width, height)))


def test_lessons_begin_plain_and_vary_later_and_are_the_same_for_a_seed(screens: list[Screen]) -> None:
    lessons = list(plan_lessons(screens, num_lessons=400, seed=0))
    varied = [lesson.zoom != 1.0 or lesson.shift_px != (0, 0) for lesson in lessons]
    assert not any(varied[:60])
    assert 0.5 < sum(varied[240:]) / 160 < 0.7
    assert lessons == list(plan_lessons(screens, num_lessons=400, seed=0))
    assert lessons != list(plan_lessons(screens, num_lessons=400, seed=1))
    assert max(Counter(id(lesson.screen) for lesson in lessons[: len(screens)]).values()) == 1


def test_a_batch_counts_image_tokens_through_its_screens(screens: list[Screen], processor: Any) -> None:
    sizes = {Lesson(screen=s).image().size: s for s in screens}
    chosen = [Lesson(screen=s) for s in (*sizes.values(), screens[0])]
    batch = collate_lessons(chosen, processor)
    start = 0
    for lesson in chosen:
        width, height = lesson.image().size
        end = start + width // CELL_PX * (height // CELL_PX)
        rows = [tuple(row) for row in batch["glyphs"].tolist() if start <= row[0] < end]
        assert rows == [(start + token, slot, letter) for token, slot, letter in lesson.glyphs(width, height)]
        start = end
    assert batch["image_grid_thw"].prod(-1).sum() // 4 == start
    assert batch["words"][:, 0].max() < start


def test_screens_that_the_processor_resizes_are_refused(screens: list[Screen], processor: Any) -> None:
    small = Lesson(screen=screens[0]).image().crop((0, 0, 40, 40))
    with pytest.raises(ValueError, match="resize"):
        collate_lessons([Lesson(screen=Screen(encode_png(small), ()))], processor)


def test_a_screen_without_text_has_a_loss(processor: Any, screens: list[Screen]) -> None:
    batch = collate_lessons([Lesson(screen=replace(screens[0], texts=()))], processor)
    head = ReadingHead(8, 20)
    loss, scores = head(torch.randn(112, 8), torch.randn(20, 8), batch["glyphs"], batch["words"])
    assert loss.isfinite() and scores == {"letter_accuracy": 0.0, "word_accuracy": 0.0}
    loss.backward()


def test_settling_puts_the_standardisation_into_the_last_layer_once() -> None:
    torch.manual_seed(0)
    last, head = torch.nn.Linear(8, 6), ReadingHead(6, 10)
    inputs_NF = torch.randn(4000, 8) * 3 + 1
    for _ in range(200):
        head.norm(last(inputs_NF))
    head.settle(last)
    states = last(inputs_NF)
    assert torch.allclose(states.mean(0), torch.zeros(6), atol=1e-4)
    assert torch.allclose(states.std(0), torch.ones(6), atol=1e-3)
    weight = last.weight.clone()
    head.settle(last)
    assert torch.equal(weight, last.weight)


def test_the_head_is_no_part_of_the_planner_and_the_tower_learns_to_read(processor: Any, screens: list[Screen]) -> None:
    """Sixty steps on one screen: letters that nothing but the picture tells apart are learnt."""
    config = TinyModelConfig(
        hidden_size=64, num_layers=1, num_heads=1, vision_hidden_size=64, vision_layers=1, vocab_size=1000
    )
    model = build_model(config, processor, seed=0)
    names = set(model.state_dict())
    attach_reading_head(model, seed=0)
    embedding = model.get_input_embeddings().weight.detach().clone()
    batch = collate_lessons([Lesson(screen=max(screens, key=lambda s: len(s.texts)))], processor)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    scores = []
    for _ in range(60):
        loss, score = read(model, batch)
        scores.append(score)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert scores[0]["letter_accuracy"] < 0.2
    assert scores[-1]["letter_accuracy"] > 0.9
    assert scores[-1]["word_accuracy"] > 0.7
    assert torch.equal(embedding, model.get_input_embeddings().weight)
    detach_reading_head(model)
    assert set(model.state_dict()) == names


def test_a_drawing_tells_words_and_letters_in_order() -> None:
    drawing: Drawing = next(record_drawings(sample_tasks("train", 1, 0)[0]))
    text = max(drawing.texts, key=lambda t: t.text.count(" "))
    assert [word for word, _, _ in text.words()] == text.text.split()
    assert "".join(letter for letter, _, _ in text.letters()) == text.text.replace(" ", "")
    places = [x for _, x, _ in text.letters()]
    assert places == sorted(places)
