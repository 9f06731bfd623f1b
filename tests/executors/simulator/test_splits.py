"""Splits: who is in which, seeds that never meet, layouts kept apart, names that do not exist."""

from __future__ import annotations

from collections import Counter

import pytest

from executors.errors import InputError
from executors.simulator import SPLITS, list_tasks, make_task, record_episode, sample_tasks
from executors.simulator.apps import APPS
from executors.simulator.layout import TRAIN_LAYOUTS, UNSEEN_LAYOUTS
from executors.simulator.splits import chance_seed
from executors.simulator.themes import TRAIN_THEMES, UNSEEN_THEMES


def test_no_two_splits_share_a_chance_seed():
    seeds = {split: {chance_seed(split, k) for k in range(2000)} for split in SPLITS}
    assert sum(len(s) for s in seeds.values()) == len(set().union(*seeds.values()))


def test_seen_splits_share_templates_and_held_out_ones_share_none():
    names = {split: {t.name for t in list_tasks(split)} for split in SPLITS}
    assert names["train"] == names["val"] == names["test"] == names["layout_unseen"]
    assert not names["train"] & names["task_unseen"] and not names["train"] & names["app_unseen"]


def test_held_out_apps_are_used_by_app_unseen_alone():
    held_out = {name for name, spec in APPS.items() if spec.is_held_out}
    assert len(held_out) >= 2 and len(APPS) >= 10
    for split in SPLITS:
        for template in list_tasks(split):
            assert bool(held_out & set(template.apps)) == (split == "app_unseen")


def test_unseen_layouts_themes_and_font_sizes_are_new():
    assert not {v.name for v in TRAIN_LAYOUTS} & {v.name for v in UNSEEN_LAYOUTS}
    assert not {v.font_px for v in TRAIN_LAYOUTS} & {v.font_px for v in UNSEEN_LAYOUTS}
    assert not set(TRAIN_THEMES) & set(UNSEEN_THEMES)
    for task in sample_tasks("layout_unseen", 30, 1):
        assert task.look.layout in UNSEEN_LAYOUTS and task.look.theme in UNSEEN_THEMES
    for task in sample_tasks("train", 30, 1):
        assert task.look.layout in TRAIN_LAYOUTS and task.look.theme in TRAIN_THEMES


def test_samples_are_balanced_deterministic_and_grow_at_the_end():
    templates = list_tasks("train")
    tasks = sample_tasks("train", 2 * len(templates), 5)
    assert set(Counter(t.template.name for t in tasks).values()) == {2}
    again = sample_tasks("train", 10, 5)
    assert [t.id for t in again] == [t.id for t in tasks[:10]]


def test_about_two_thirds_of_the_tasks_are_on_the_phone():
    forms = Counter(t.form for t in sample_tasks("train", 400, 2))
    assert 0.58 < forms["phone"] / 400 < 0.75


@pytest.mark.parametrize(
    ("name", "split", "match"),
    [
        ("settings_togle", "train", "near matches: .*settings_toggle"),
        ("song_delete", "train", "belongs to split app_unseen"),
        ("settings_toggle", "trian", "near matches: train"),
    ],
)
def test_unknown_names_are_refused_with_near_matches(name, split, match):
    with pytest.raises(InputError, match=match):
        make_task(name, split, 1)


@pytest.mark.parametrize("seed", [1.5, "1", True])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(InputError, match="seed"):
        make_task("settings_toggle", "train", seed)
    with pytest.raises(InputError, match="seed"):
        sample_tasks("train", 1, seed)


@pytest.mark.parametrize("seed", [-(10**30), -1, 2**63, 10**30])
def test_any_whole_number_is_a_seed(seed):
    task = make_task("settings_toggle", "test", seed)
    assert str(seed) in task.id and record_episode(task, with_images=False).outcome == "success"


def test_a_negative_number_of_episodes_is_refused():
    with pytest.raises(InputError, match="num_episodes"):
        sample_tasks("train", -1, 0)
