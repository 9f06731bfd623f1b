"""AndroidControl: real TFRecord framing and real protobuf, written by hand in `formats`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Element, Trajectory
from tests.training.datasets.formats import (
    android_episode,
    android_folder,
    block,
    forest,
    image_bytes,
    node,
    tfrecord,
    varint,
    whole,
)
from tests.training.datasets.importing import import_all
from training.datasets.android_elements import elements_of
from training.datasets.report import ImportReport

PHONE = ImageSize(1080, 2400)


def read(tmp_path: Path, *records: bytes, **options: object) -> tuple[list[Trajectory], ImportReport]:
    """Imports one shard of these records."""
    return import_all("android_control", android_folder(tmp_path / "set", *records), **options)


def episode_of(tmp_path: Path, *actions: dict, number: int = 10) -> tuple[list[Trajectory], ImportReport]:
    """Imports one episode with these actions."""
    return read(tmp_path, android_episode(number, list(actions)))


def test_an_episode_keeps_words_screens_elements_and_targets(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, android_episode(10))
    assert (trajectory.id, trajectory.goal, trajectory.platform, trajectory.split) == ("10", "goal 10", "phone", "test")
    assert [s.action for s in trajectory.steps] == [
        Action(type="open_app", app_name="Zoho Meet"), Action(type="click", point=PointNorm(10 / 27, 0.2)),
        Action(type="scroll", direction="down"),
    ]
    assert [s.instruction for s in trajectory.steps] == ["step 0", "step 1", "step 2"]
    click = trajectory.steps[1]
    assert click.observation.image_size == ImageSize(27, 60)
    assert click.observation.load_image().tobytes() != trajectory.steps[2].observation.load_image().tobytes()
    (element,) = click.observation.elements
    assert (element.role, element.text, element.is_clickable) == ("button", "Save", True)
    assert click.target == element.box
    assert [s.target for s in (trajectory.steps[0], trajectory.steps[2])] == [None, None]
    assert report.num_problems == 0
    assert trajectory.meta == {"subsplits": ["IDD"]}


# README of the data set: action and our verb; scroll's direction is what to reveal, in all four directions.
@pytest.mark.parametrize(
    ("raw", "action"),
    [
        ({"action_type": "click", "x": 27, "y": 0}, Action(type="click", point=PointNorm(1, 0))),
        ({"action_type": "long_press", "x": 0, "y": 30}, Action(type="long_press", point=PointNorm(0, 0.5))),
        *(({"action_type": "scroll", "direction": side}, Action(type="scroll", direction=side))
          for side in ("up", "down", "left", "right")),
        ({"action_type": "scroll", "direction": "DOWN"}, Action(type="scroll", direction="down")),
        ({"action_type": "open_app", "app_name": " Zoho  Meet "}, Action(type="open_app", app_name="Zoho Meet")),
        ({"action_type": "input_text", "text": "it's\nso "}, Action(type="type", content="it's\nso ")),
        ({"action_type": "type", "text": "hi", "x": 0, "y": 0},
         Action(type="type", content="hi\n", point=PointNorm(0, 0))),
        ({"action_type": "navigate_home"}, Action(type="press_home")),
        ({"action_type": "navigate_back"}, Action(type="press_back")),
        ({"action_type": "wait"}, Action(type="wait")),
    ],
)
def test_actions_become_what_they_mean(tmp_path: Path, raw: dict, action: Action) -> None:
    (trajectory,), report = episode_of(tmp_path, raw)
    assert [s.action for s in trajectory.steps] == [action]
    assert not report.repairs


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        ({"action_type": "fly"}, "unknown action", "actions[1].action_type"),
        ({"action_type": ["click"]}, "wrong action", "actions[1].action_type"),
        ({}, "wrong action", "actions[1].action_type"),
        ({"action_type": "click", "x": 5}, "wrong coordinate", "actions[1][1]"),
        ({"action_type": "click", "x": "5", "y": 5}, "wrong coordinate", "actions[1][0]"),
        ({"action_type": "click", "x": 500, "y": 5}, "off the image", "actions[1][0]"),
        ({"action_type": "scroll", "direction": "sideways"}, "wrong direction", "actions[1].direction"),
        ({"action_type": "scroll"}, "wrong direction", "actions[1].direction"),
        ({"action_type": "open_app"}, "wrong argument", "actions[1].app_name"),
        ({"action_type": "input_text", "text": None}, "wrong argument", "actions[1].text"),
    ],
)
def test_a_broken_action_cuts_the_episode_before_it(tmp_path: Path, raw: dict, reason: str, field: str) -> None:
    (trajectory,), report = episode_of(tmp_path, {"action_type": "wait"}, raw, {"action_type": "wait"}, number=1)
    assert [s.action.type for s in trajectory.steps] == ["wait"]  # and no closing step
    assert trajectory.meta["num_source_steps"] == 3
    assert report.skipped_steps == {reason: 1, "after a broken step": 1}
    assert report.problems[0].field == field


def test_training_episodes_end_with_a_finish_step_on_the_last_screen_and_test_episodes_do_not(tmp_path: Path) -> None:
    kept, report = read(tmp_path, android_episode(1), android_episode(0), android_episode(10))
    assert [(t.split, len(t.steps), t.steps[-1].action.type) for t in kept] == [
        ("train", 4, "finished"), ("validation", 4, "finished"), ("test", 3, "scroll"),
    ]
    assert report.num_steps_added == 2
    assert kept[0].steps[-1].observation.load_image().size == (27, 60)


def test_an_episode_without_a_last_screen_ends_without_a_finish_step(tmp_path: Path) -> None:
    screens = [image_bytes(seed=i) for i in range(3)]
    (trajectory,), report = read(tmp_path, android_episode(1, screenshots=screens))
    assert trajectory.steps[-1].action.type == "scroll"
    assert report.repairs == {"no finish step": 1}


def test_splits_and_subsplits_are_those_of_the_files(tmp_path: Path) -> None:
    records = [android_episode(number) for number in (1, 10, 12, 500)]
    kept, _ = read(tmp_path, *records)
    assert [(t.split, t.meta.get("subsplits")) for t in kept] == [
        ("train", None), ("test", ["IDD"]), ("test", ["app_unseen", "task_unseen", "category_unseen"]),
        ("unlisted", None),
    ]
    for wanted, ids in (("train", ["1"]), ("test", ["10", "12"]), ("app_unseen", ["12"]), ("IDD", ["10"])):
        kept, report = read(tmp_path, *records, split=wanted)
        assert [t.id for t in kept] == ids
        assert {t.split for t in kept} == {wanted}
        assert report.skipped_records == {f"not in split {wanted}": 4 - len(ids)}
        assert report.num_problems == 0
    assert len(kept[0].steps) == 3  # a test episode stays without a finish step whatever it is called


def test_a_missing_or_broken_split_file_is_named(tmp_path: Path) -> None:
    folder = android_folder(tmp_path / "set", android_episode(1))
    (folder / "test_subsplits.json").unlink()
    assert len(import_all("android_control", folder)[0]) == 1
    with pytest.raises(MissingFileError, match="test_subsplits.json"):
        import_all("android_control", folder, split="IDD")
    with pytest.raises(InputError, match="--split dev is not allowed for android_control: choose one of train"):
        import_all("android_control", folder, split="dev")
    (folder / "splits.json").write_text('{"train": ["1"]}')
    with pytest.raises(InputError, match="'train' is not a list of episode ids"):
        import_all("android_control", folder)
    (folder / "splits.json").unlink()
    with pytest.raises(MissingFileError, match="splits.json"):
        import_all("android_control", folder)
    with pytest.raises(MissingFileError, match="is no shard"):
        import_all("android_control", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"episode_id": []}, "wrong episode_id"),
        ({"episode_id": [1, 2]}, "wrong episode_id"),
        ({"goal": []}, "wrong goal"),
        ({"goal": [" "]}, "no goal"),
        ({"actions": []}, "no actions"),  # nine released episodes
        ({"screenshots": []}, "missing image"),
        ({"screenshots": [b"no image"]}, "unreadable image"),
        ({"screenshots": [image_bytes()[:-9]]}, "unreadable image"),
        ({"actions": [b"{"]}, "not JSON"),
        ({"actions": [b"[]"]}, "not an object"),
    ],
)
def test_a_broken_episode_is_counted_and_the_others_are_kept(tmp_path: Path, changes: dict, reason: str) -> None:
    kept, report = read(tmp_path, android_episode(1), android_episode(2, **changes), android_episode(3))
    assert [t.id for t in kept] == ["1", "3"]
    assert report.skipped_records == {reason: 1}
    assert report.problems[0].line == 2


def test_small_damage_is_mended_and_counted(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, android_episode(
        10, goal=[b"go \xff there"], screenshot_widths=[28] * 4, accessibility_trees=[b"\xff\xff"],
        step_instructions=["a"]))
    assert trajectory.goal == "go \ufffd there"
    assert [s.instruction for s in trajectory.steps] == ["a", "click at (0.37, 0.20)", "scroll down"]
    assert report.num_instructions_generated == 2
    assert report.repairs == {"image size taken from the image": 3, "text not UTF-8": 1, "element tree left out": 1}


def test_writing_of_nothing_is_left_out(tmp_path: Path) -> None:
    (trajectory,), report = episode_of(tmp_path, {"action_type": "input_text", "text": ""}, {"action_type": "wait"})
    assert len(trajectory.steps) == 1
    assert report.skipped_steps == {"does nothing": 1}


def test_the_same_episode_twice_is_kept_once_and_another_of_its_id_beside_it(tmp_path: Path) -> None:
    other = android_episode(10, [{"action_type": "wait"}])
    kept, report = read(tmp_path, android_episode(10), android_episode(10), other)
    assert [t.id for t in kept] == ["10", "10#2"]
    assert report.skipped_records == {"repeated record": 1}
    assert report.repairs == {"id used twice": 1}


def test_plain_and_several_shards_are_read_in_order(tmp_path: Path) -> None:
    folder = android_folder(tmp_path / "set", android_episode(1))
    (folder / "android_control-00001-of-00020").write_bytes(tfrecord(android_episode(2)))
    kept, _ = import_all("android_control", folder)
    assert [t.id for t in kept] == ["1", "2"]
    kept, _ = import_all("android_control", folder / "android_control-00001-of-00020")
    assert [t.id for t in kept] == ["2"]


# --------------------------------------------------------------------------------------------------- damaged shards


def test_a_flipped_byte_costs_one_record_and_a_broken_length_the_rest(tmp_path: Path) -> None:
    folder = android_folder(tmp_path / "set", android_episode(1))
    shard = folder / "android_control-00000-of-00020"
    first, rest = tfrecord(android_episode(1)), tfrecord(android_episode(2), android_episode(3))
    flipped = bytearray(first + rest)
    flipped[len(first) // 2] ^= 1
    shard.write_bytes(flipped)
    kept, report = import_all("android_control", folder)
    assert [t.id for t in kept] == ["2", "3"]
    assert report.skipped_records == {"wrong checksum": 1}
    flipped = bytearray(first + rest)
    flipped[len(first)] ^= 1
    shard.write_bytes(flipped)
    kept, report = import_all("android_control", folder)
    assert [t.id for t in kept] == ["1"]
    assert report.skipped_records == {"rest of the file unreadable": 1}
    assert "checksum of a record's length" in report.problems[0].message


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_cut_shard_keeps_the_records_before_the_cut(tmp_path: Path, cut: int) -> None:
    folder = android_folder(tmp_path / "set", android_episode(1))
    data = gzip.compress(tfrecord(android_episode(1), android_episode(2)), 1)
    (folder / "android_control-00000-of-00020").write_bytes(data[:-cut])
    kept, report = import_all("android_control", folder)
    assert [t.id for t in kept] == (["1", "2"] if cut <= 8 else ["1"])
    assert report.skipped_records == {"rest of the file unreadable": 1}


def test_a_record_that_is_no_example_is_skipped(tmp_path: Path) -> None:
    kept, report = read(tmp_path, b"\xff\xff\xff", block(1, block(1, block(2, b"\xff\xff"))), android_episode(3))
    assert [t.id for t in kept] == ["3"]
    assert report.skipped_records.total() == 2


# ------------------------------------------------------------------------------------------------------- elements


def elements(*nodes: bytes) -> list[Element]:
    """The elements of one window of a 1080x2400 screen."""
    return list(elements_of(forest((0, list(nodes))), PHONE))


def test_a_row_takes_the_words_of_the_texts_inside_it() -> None:
    found = elements(
        node(0, (0, 0, 1080, 2400), children=[1, 5]),
        node(1, (0, 240, 1080, 480), "android.widget.LinearLayout", is_clickable=True, children=[2, 3]),
        node(2, (100, 240, 500, 360), "android.widget.TextView", text="Wi-Fi"),
        node(3, (100, 360, 500, 480), "android.view.ViewGroup", children=[4]),
        node(4, (100, 360, 500, 480), "android.widget.TextView", text="Connected"),
        node(5, (0, 600, 1080, 720), "android.widget.TextView", text="About"),
    )
    assert [(e.role, e.text) for e in found] == [("item", "Wi-Fi Connected"), ("text", "About")]
    assert [e.is_clickable for e in found] == [True, False]
    assert found[0].box == BoxNorm(0, 0.1, 1, 0.2)


def test_states_of_switches_and_fields_are_values() -> None:
    found = elements(
        node(1, (0, 0, 100, 100), "android.widget.Switch", text="Dark", is_checkable=True, is_checked=True),
        node(2, (0, 100, 100, 200), "android.widget.CheckBox", content_description="Agree", is_checkable=True),
        node(3, (0, 200, 100, 300), "android.widget.EditText", text="milk", hint_text="Search", is_editable=True,
             is_focused=True),
        node(4, (0, 300, 100, 400), "android.widget.EditText", text="secret", hint_text="Password", is_editable=True,
             is_password=True),
        node(5, (0, 400, 100, 500), "a.b.SeekBar", content_description="Volume"),
    )
    assert [(e.role, e.text, e.value, e.is_focused) for e in found] == [
        ("switch", "Dark", "on", False), ("checkbox", "Agree", "off", False), ("field", "Search", "milk", True),
        ("field", "Password", "", False), ("slider", "Volume", None, False),
    ]


def test_what_cannot_be_seen_or_pointed_at_is_no_element() -> None:
    assert elements(
        node(1, (0, 0, 10, 10), text="hidden", is_visible_to_user=False),
        node(2, (0, 0, 0, 10), text="empty"),
        node(3, (1080, 0, 1200, 10), text="outside"),
        node(4, (0, 0, 10, 10)),
    ) == []
    (partly,) = elements(node(5, (-540, 1200, 540, 3000), text="partly"))
    assert partly.box == BoxNorm(0, 0.5, 0.5, 1)


def test_the_front_window_comes_first_and_circles_end() -> None:
    back, front = node(1, (0, 0, 9, 9), text="back"), node(1, (0, 0, 9, 9), text="front")
    assert [e.text for e in elements_of(forest((1, [back]), (5, [front])), PHONE)] == ["front", "back"]
    circle = elements(node(1, (0, 0, 9, 9), children=[2]), node(2, (0, 0, 9, 9), text="a", children=[1]))
    assert [e.text for e in circle] == ["a"]


def test_unknown_fields_of_a_node_are_skipped() -> None:
    extra = node(1, (0, 0, 9, 9), text="a") + whole(27, 3) + block(24, whole(1, 2)) + whole(999, 1)
    assert [e.text for e in elements(extra)] == ["a"]
    with pytest.raises(ValueError):
        elements_of(varint(10) + b"\x05abc", PHONE)


def test_an_imported_episode_reads_back_with_its_elements(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    import_all("android_control", android_folder(tmp_path / "set", android_episode(10)), out=out)
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["steps"][0]["observation"]["elements"][0]["text"] == "Save"
