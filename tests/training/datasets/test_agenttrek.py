"""AgentTrek: text-only rows in the form of AgentLab's prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from executors.actions import Action, validate
from executors.errors import MissingFileError
from executors.trajectory import Trajectory
from tests.training.datasets.formats import agenttrek_row, json_array, json_lines
from tests.training.datasets.importing import import_all
from training.datasets.agenttrek import read_action
from training.datasets.report import ImportReport
from training.datasets.skip import Skip


def read(tmp_path: Path, *rows: dict, **options: object) -> tuple[list[Trajectory], ImportReport]:
    """Imports a file of these rows."""
    return import_all("agenttrek", json_lines(tmp_path / "set" / "agenttrek_1207.json", *rows), **options)


def test_rows_of_a_task_become_an_episode_of_text(tmp_path: Path) -> None:
    kept, report = read(tmp_path, agenttrek_row("Find shoes", 0, "click('42')"),
                        agenttrek_row("Find shoes", 1, "fill('a7', 'red shoes')"),
                        agenttrek_row("Find shoes", 2, "send_msg_to_user('They are $30.')"),
                        agenttrek_row("Find a hat", 0, "scroll(0, 400)"))
    assert [(t.goal, len(t.steps), t.outcome, t.platform) for t in kept] == [
        ("Find shoes", 3, "success", "browser"), ("Find a hat", 1, "", "browser"),
    ]
    first, second, last = kept[0].steps
    assert first.action == Action(type="click") and first.instruction == 'click the button "Search"'
    assert second.action == Action(type="type", content="red shoes")
    assert second.instruction == 'type "red shoes" into the textbox "Query \'x\'"'
    assert last.action == Action(type="finished", content="They are $30.")
    assert (first.thought, first.observation.summary) == ("I think.", "Shop")
    assert first.observation.text.startswith("RootWebArea 'Shop'") and "[42] button" in first.observation.text
    assert (first.observation.image_size, first.observation.elements) == (None, ())
    assert kept[0].meta["elements"] == ["42", "a7", None]
    assert (report.num_records_read, report.num_records_kept, report.num_steps_kept) == (4, 4, 4)


# BrowserGym's action set; a wheel's positive values go right and down.
@pytest.mark.parametrize(
    ("code", "action", "bid"),
    [
        ("click('a12')", Action(type="click"), "a12"),
        ('click("a12")', Action(type="click"), "a12"),
        ("click('a12', 'right')", Action(type="right_single"), "a12"),
        ("click(bid='a12', button='middle')", Action(type="middle_click"), "a12"),
        ("dblclick('1')", Action(type="left_double"), "1"),
        ("hover('1')", Action(type="hover"), "1"),
        ("focus('1')", Action(type="click"), "1"),
        ("hover('1')\nclick('1')", Action(type="click"), "1"),
        ("fill('237', 'it\\'s')", Action(type="type", content="it's"), "237"),
        ("select_option('48', 'blue')", Action(type="select", value="blue"), "48"),
        ("select_option('48', ['blue'])", Action(type="select", value="blue"), "48"),
        ("scroll(0, 400)", Action(type="scroll", direction="down"), None),
        ("scroll(0, -400.5)", Action(type="scroll", direction="up"), None),
        ("scroll(200, 0)", Action(type="scroll", direction="right"), None),
        ("scroll(-200, 0)", Action(type="scroll", direction="left"), None),
        ("scroll(delta_x=0, delta_y=90)", Action(type="scroll", direction="down"), None),
        ("press('88', 'Enter')", Action(type="hotkey", key="enter"), "88"),
        ("press('88', 'Control+A')", Action(type="hotkey", key="ctrl a"), "88"),
        ("keyboard_press('ArrowDown')", Action(type="hotkey", key="down"), None),
        ("keyboard_press('+')", Action(type="hotkey", key="+"), None),
        ("go_back()", Action(type="hotkey", key="alt left"), None),
        ("go_forward()", Action(type="hotkey", key="alt right"), None),
        ("new_tab()", Action(type="hotkey", key="ctrl t"), None),
        ("tab_close()", Action(type="hotkey", key="ctrl w"), None),
        ("noop()", Action(type="wait", seconds=1.0), None),
        ("noop(500)", Action(type="wait", seconds=0.5), None),
        ("send_msg_to_user('done')", Action(type="finished", content="done"), None),
        ("report_infeasible('why')", Action(type="call_user", content="why"), None),
    ],
)
def test_calls_become_what_they_mean(code: str, action: Action, bid: str | None) -> None:
    assert read_action(code) == (action, bid)
    assert validate(action, need_targets=False) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "wrong action"), ("click", "wrong action"), ("click(", "wrong action"), ("x = 1", "wrong action"),
        ("os.system('true')", "wrong action"), ("click(open('/etc/hostname'))", "wrong action"),
        ("a" * 50_000, "wrong action"), ("click('1')\nclick('2')", "several actions"),
        ("hover('1')\nclick('2')", "several actions"), ("goto('https://x')", "unknown action"),
        ("clear('1')", "unknown action"), ("fill('1', '')", "unknown action"), ("click()", "wrong argument"),
        ("click(5)", "wrong argument"), ("click('1', 'far')", "wrong argument"), ("fill('1')", "wrong argument"),
        ("scroll(0, 0)", "wrong argument"), ("scroll(0)", "wrong argument"), ("scroll('0', '1')", "wrong argument"),
        ("scroll(True, 5)", "wrong argument"), ("press('1', '')", "wrong argument"), ("noop(-5)", "wrong argument"),
        ("select_option('1', ['a', 'b'])", "wrong argument"), ("send_msg_to_user(5)", "wrong argument"),
    ],
)
def test_calls_that_are_not_one_action_are_refused(code: str, reason: str) -> None:
    with pytest.raises(Skip) as caught:
        read_action(code)
    assert caught.value.reason == reason


def test_a_broken_row_cuts_its_episode_before_it(tmp_path: Path) -> None:
    rows = [agenttrek_row("a", i, code) for i, code in enumerate(("click('42')", "goto('https://x')", "click('42')"))]
    kept, report = read(tmp_path, *rows, agenttrek_row("b", 0, "click('42')"))
    assert [(t.goal, len(t.steps)) for t in kept] == [("a", 1), ("b", 1)]
    assert report.skipped_records == {"unknown action": 1, "after a missing step": 1}


def test_the_same_goal_again_is_another_episode(tmp_path: Path) -> None:
    first = agenttrek_row("a", 0, "click('42')")
    second, other = agenttrek_row("a", 1, "scroll(0, 5)"), agenttrek_row("b", 0, "noop()")
    kept, report = read(tmp_path, first, second, first, other, first)
    assert [(t.goal, len(t.steps)) for t in kept] == [("a", 2), ("a", 1), ("b", 1)]
    assert kept[1].id == f"{kept[0].id}#2"
    assert report.skipped_records == {"repeated record": 1}


def test_a_message_in_the_middle_is_left_out_alone(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, agenttrek_row("a", 0, "send_msg_to_user('Hello')"),
                                 agenttrek_row("a", 1, "click('42')"))
    assert [s.action.type for s in trajectory.steps] == ["click"]
    assert trajectory.meta["elements"] == ["42"]
    assert report.skipped_steps == {"terminate before the end": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda row: row.update(messages=None), "wrong messages"),
        (lambda row: row["messages"].pop(), "wrong messages"),
        (lambda row: row["messages"][1].update(content=5), "wrong messages"),
        (lambda row: row["messages"][1].update(content="## AXTree:\nRootWebArea 'x'"), "no goal"),
        (lambda row: row["messages"][1].update(content="## Goal:\nx\n"), "no AXTree"),
        (lambda row: row["messages"][2].update(content="I click."), "wrong action"),
    ],
)
def test_a_row_that_lacks_something_is_counted(tmp_path: Path, change: object, reason: str) -> None:
    row = agenttrek_row("a", 0, "click('42')")
    change(row)
    kept, report = read(tmp_path, row, agenttrek_row("b", 0, "noop()"))
    assert [t.goal for t in kept] == ["b"]
    assert report.skipped_records == {reason: 1}


def test_an_element_that_the_tree_does_not_have_is_told_by_its_id(tmp_path: Path) -> None:
    (trajectory,), _ = read(tmp_path, agenttrek_row("a", 0, "click('zz')"))
    assert trajectory.steps[0].instruction == "click element [zz]"


def test_an_array_is_read_like_lines(tmp_path: Path) -> None:
    rows = [agenttrek_row("a", 0, "click('42')"), agenttrek_row("a", 1, "noop()")]
    kept, _ = import_all("agenttrek", json_array(tmp_path / "set" / "agenttrek_1207.json", *rows))
    assert kept == read(tmp_path, *rows)[0]
    with pytest.raises(MissingFileError, match="agenttrek_1207"):
        import_all("agenttrek", tmp_path / "none")
