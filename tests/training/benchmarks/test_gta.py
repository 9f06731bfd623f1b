"""GTA's scorers case by case, its published file, and what is missing, wrong or failed. All queries are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError, MissingFileError
from training.benchmarks.gta import (
    CATEGORIES,
    MATCHERS,
    GtaSample,
    Move,
    code_exec,
    read_samples,
    score_end_to_end,
    score_t3,
    score_teacher_forced,
    tool_accuracy,
)

# Verdicts derived by hand from gta_bench.py's iscorrect, from the rule of edges of the strict variant, and from
# T3-Agent's substring rule: (answer, whitelist, blacklist, official, strict, t3).
VERDICTS = [
    ("It is a cat.", [["cat"]], None, True, True, True),
    ("It is a CAT", [["cat"]], None, True, True, True),
    ("a catalogue", [["cat"]], None, False, False, True),
    ("a dog", [["cat"]], None, False, False, False),
    ("a kitten", [["cat", "kitten"]], None, True, True, True),
    ("a cat and a dog", [["cat"], ["dog"]], None, True, True, True),
    ("a cat", [["cat"], ["dog"]], None, False, False, False),
    ("a cat, no dog", [["cat"]], [["dog"]], False, False, True),
    ("a cat, a hotdog", [["cat"]], [["dog"]], True, True, True),
    ("a cat", [["cat"]], [], True, True, True),
    ("a cat, a fox", [["cat"]], [["dog"], ["fox"]], False, False, True),
    ("It costs $5.", [["$5"]], None, False, True, True),
    ("cost$5", [["$5"]], None, True, False, True),
    ("50% off", [["50%"]], None, False, True, True),
    ("50%off", [["50%"]], None, True, False, True),
    ("50 percent", [["50%", "50 percent"]], None, True, True, True),
    ("10.5", [["10"]], None, True, False, True),
    ("It is 10.", [["10"]], None, True, True, True),
    ("It is 10, I think", [["10"]], None, True, True, True),
    ("1,010", [["010"]], None, True, False, True),
    ("2.10", [["10"]], None, True, False, True),
    ("100", [["10"]], None, False, False, True),
    ("10km", [["10"]], None, False, False, True),
    ("10 km", [["10"]], None, True, True, True),
    ("-10", [["10"]], None, True, True, True),
    ("-10", [["-10"]], None, False, True, True),
    ("x-10", [["-10"]], None, True, False, True),
    ("10.5", [["10.5"]], None, True, True, True),
    ("10x5", [["10.5"]], None, False, False, False),
    ("10.55", [["10.5"]], None, False, False, True),
    ("3:45 pm", [["3:45"]], None, True, True, True),
    ("C++", [["C++"]], None, False, True, True),
    ("C++", [["C"]], None, True, True, True),
    ("C++11", [["C++"]], None, True, False, True),
    ("(a)", [["(a)"]], None, False, True, True),
    ("a_b", [["a"]], None, False, False, True),
    ("a-b", [["a"]], None, True, True, True),
    ("new york", [["New York"]], None, True, True, True),
    ("new  york", [["New York"]], None, False, False, False),
    ("new\nyork", [["New York"]], None, False, False, False),
    ("naïve", [["na"]], None, False, False, True),
    ("das Café", [["café"]], None, True, True, True),
    ("是三只猫", [["三"]], None, False, False, True),
    ("", [["cat"]], None, False, False, False),
    ("anything", [], None, True, True, True),
    ("", [], None, True, True, True),
    ("anything", [[]], None, True, False, False),
    ("anything", [[""]], None, True, False, True),
    ("...", [[""]], None, False, False, True),
    ("cat", [["cat"]], [[]], False, True, True),
    ("cat 5%", [["cat"]], [["5%"]], True, False, True),
    ("£20", [["20"]], None, True, True, True),
    ("20,5", [["20"]], None, True, False, True),
    ("20, 5", [["20"]], None, True, True, True),
    ("20.", [["20."]], None, False, True, True),
    ("Mr. Fox", [["Mr."]], None, False, True, True),
    ("e.g. a", [["e.g"]], None, True, True, True),
    ("yes", [["Yes", "correct"]], [["no"]], True, True, True),
    ("Yes, no doubt", [["Yes"]], [["no"]], False, False, True),
    ("nothing: yes", [["Yes"]], [["no"]], True, True, True),
    ("12 34", [["12"], ["34"]], None, True, True, True),
    ("1234", [["12"], ["34"]], None, False, False, True),
    ("A\\B", [["A\\B"]], None, True, True, True),
    ("a|b", [["a|b"]], None, True, True, True),
    ("a", [["a|b"]], None, False, False, False),
]


@pytest.mark.parametrize(("answer", "whitelist", "blacklist", "official", "strict", "t3"), VERDICTS)
def test_verdicts(answer: str, whitelist: list, blacklist: list | None, official: bool, strict: bool, t3: bool) -> None:
    truth = {"whitelist": whitelist, "blacklist": blacklist}
    found = {name: is_right(answer, truth) for name, is_right in MATCHERS.items()}
    assert found == {"official": official, "strict": strict, "t3": t3}


def test_there_are_enough_cases() -> None:
    assert len(VERDICTS) >= 60


@given(st.text(), st.lists(st.lists(st.text(), max_size=3), max_size=3), st.lists(st.lists(st.text(), max_size=2)))
def test_any_text_gets_a_verdict(answer: str, whitelist: list, blacklist: list) -> None:
    for is_right in MATCHERS.values():
        assert is_right(answer, {"whitelist": whitelist, "blacklist": blacklist}) in (True, False)


def call(name: str, is_error: bool = False, **arguments: object) -> Move:
    """A tool call."""
    return Move(kind="tool", name=name, arguments=arguments, is_error=is_error)


def say(text: str, is_error: bool = False) -> Move:
    """An answer."""
    return Move(kind="answer", text=text, is_error=is_error)


def sample(number: int, *moves: Move, answer: object) -> GtaSample:
    """A query with these recorded moves."""
    return GtaSample(id=str(number), query="q", tools=("OCR",), files=(), moves=moves, answer=answer)


CAT = {"whitelist": [["cat"]], "blacklist": None}
OBJECTIVE = sample(0, call("OCR", image="a"), call("Calculator", expression="1"), say("a cat"), answer=CAT)
SUBJECTIVE = sample(1, call("OCR", image="a"), say("red"), answer=["red", "crimson"])
IMAGE = sample(2, call("DrawBox", image="a", bbox="(1)"), say("here"), answer=None)


def same(a: str, b: str) -> float:
    """A similarity that knows equal texts, and opposite ones."""
    return 1.0 if a == b else -0.5 if b == "opposite" else 0.25


# GTA's counts by hand: 3 recorded calls + 1 image call = 4 calls, 2 samples with an answer, so InstAcc is out of 6.
@pytest.mark.parametrize(
    ("predictions", "inst", "tool", "arg", "summ"),
    [
        ({}, 0, 0, 0, 0),
        ({"0": OBJECTIVE.moves, "1": SUBJECTIVE.moves, "2": IMAGE.moves}, 7 / 6, 1, 1, 1),  # upstream's more than all
        ({"0": OBJECTIVE.moves}, 3 / 6, 2 / 4, 2 / 4, 1 / 2),
        ({"0": [call("OCR", image="b"), call("Solver"), say("a dog")]}, 3 / 6, 1 / 4, 0, 0),
        ({"0": [say("a cat"), say("a cat"), call("OCR")]}, 0, 0, 0, 0),
        ({"0": [call("OCR", True, image="a")]}, 0, 1 / 4, 1 / 4, 0),  # an error is no InstAcc, but upstream's ToolAcc
        ({"0": [call("OCR"), call("OCR"), say("a cat", True)]}, 2 / 6, 1 / 4, 0, 1 / 2),
        ({"1": [call("OCR", image="a"), say("crimson")]}, 2 / 6, 1 / 4, 1 / 4, 1 / 2),
        ({"1": [call("OCR", image="a"), say("blue")]}, 2 / 6, 1 / 4, 1 / 4, 0.25 / 2),
        ({"1": [call("ocr", image="a"), Move(kind="tool_return", text="red")]}, 1 / 6, 0, 0, 0),
        ({"2": [call("DrawBox", image="a", bbox="(1)", annotation=None), say("x")]}, 2 / 6, 1 / 4, 0, 0),
        ({"0": [*OBJECTIVE.moves, call("OCR"), say("more")]}, 3 / 6, 2 / 4, 2 / 4, 1 / 2),
        ({"9": OBJECTIVE.moves}, 0, 0, 0, 0),
    ],
)
def test_teacher_forced_figures(
    predictions: dict[str, Sequence[Move]], inst: float, tool: float, arg: float, summ: float
) -> None:
    figures = score_teacher_forced([OBJECTIVE, SUBJECTIVE, IMAGE], predictions, similarity=same)
    found = [figures[name] for name in ("InstAcc", "ToolAcc", "ArgAcc", "SummAcc")]
    assert found == pytest.approx([100 * value for value in (inst, tool, arg, summ)])


# By hand: AnsAcc is out of 2, with image generation out of 3; perception has 2 recorded calls, logic and operation 1.
@pytest.mark.parametrize(
    ("predictions", "answer", "with_images", "f1"),
    [
        ({}, 0, 0, (0, 0, 0)),
        ({"0": OBJECTIVE.moves, "1": SUBJECTIVE.moves, "2": IMAGE.moves}, 1, 1, (1, 1, 1)),
        ({"0": [say("cat")]}, 1 / 2, 1 / 3, (0, 0, 0)),
        ({"0": [say("cat"), call("OCR")]}, 0, 0, (2 * 1 * 0.5 / 1.5, 0, 0)),  # the last move is no answer
        ({"0": [say("cat", True)]}, 1 / 2, 1 / 3, (0, 0, 0)),
        ({"0": [say("")]}, 0, 0, (0, 0, 0)),
        ({"1": [say("opposite")], "0": []}, 0.25 / 2, 0.25 / 3, (0, 0, 0)),
        ({"2": [call("DrawBox", image="a", bbox="(1)")]}, 0, 1 / 3, (0, 1, 0)),
        ({"2": [call("DrawBox", image="b")]}, 0, 0.25 / 3, (0, 1, 0)),
        ({"2": [call("DrawBox", image="a", bbox="(1)"), call("DrawBox", image="b")]}, 0, 0.25 / 3, (0, 2 / 3, 0)),
        ({"2": [call("DrawBox", True, image="a", bbox="(1)")]}, 0, 0, (0, 1, 0)),  # an error draws nothing, but counts
        ({"2": [call("AddText", image="a")]}, 0, 0, (0, 0, 0)),
        ({"0": [call("OCR"), call("OCR"), call("OCR"), say("cat")]}, 1 / 2, 1 / 3, (2 * (1 / 3) * 0.5 / (5 / 6), 0, 0)),
        ({"1": [call("unknown"), say("red")]}, 1 / 2, 1 / 3, (0, 0, 0)),
    ],
)
def test_end_to_end_figures(
    predictions: dict[str, Sequence[Move]], answer: float, with_images: float, f1: tuple[float, float, float]
) -> None:
    figures = score_end_to_end([OBJECTIVE, SUBJECTIVE, IMAGE], predictions, similarity=same)
    found = [figures[name] for name in ("AnsAcc", "AnsAcc+ImgGen", "P_F1", "O_F1", "L_F1")]
    assert found == pytest.approx([100 * value for value in (answer, with_images, *f1)], abs=0.01)
    assert figures["C_F1"] is None  # nothing of it was recorded


def test_without_a_similarity_figures_that_need_it_are_none_and_counted() -> None:
    predictions = {"0": OBJECTIVE.moves, "1": SUBJECTIVE.moves, "2": IMAGE.moves}
    figures = score_end_to_end([OBJECTIVE, SUBJECTIVE, IMAGE], predictions)
    assert (figures["AnsAcc"], figures["AnsAcc+ImgGen"], figures["num_unscored"]) == (None, None, 2)
    assert score_end_to_end([OBJECTIVE], predictions)["AnsAcc"] == 100
    assert score_teacher_forced([OBJECTIVE, SUBJECTIVE], predictions)["SummAcc"] is None
    assert score_teacher_forced([], {})["ToolAcc"] is None
    with pytest.raises(InputError, match="official, strict, t3"):
        score_end_to_end([], {}, matcher="kind")


def test_t3_agent_s_accuracy_is_over_objective_answers() -> None:
    assert score_t3([OBJECTIVE, SUBJECTIVE, IMAGE], {"0": "a CATalogue", "1": "red"}) == {
        "AnsAcc_T3": 100.0, "num_samples": 1, "num_right": 1}  # fmt: skip
    assert score_t3([OBJECTIVE], {})["AnsAcc_T3"] == 0


def test_code_exec_and_tool_accuracy_of_our_own() -> None:
    assert code_exec([]) is None and code_exec([False]) == 0
    assert tool_accuracy([OBJECTIVE, SUBJECTIVE, IMAGE], {"0": ["visualizer", "python"], "1": ["ocr"]}) == 75
    assert tool_accuracy([OBJECTIVE], {"0": ["OCR"]}) == 50
    assert tool_accuracy([], {}) is None


def test_every_tool_has_one_category() -> None:
    names = [name for group in CATEGORIES.values() for name in group]
    assert len(names) == len(set(names)) == 14


def record(**changes: object) -> dict:
    """A query as GTA publishes it."""
    function = {"name": "OCR", "arguments": {"image": "image/a.jpg"}}
    return {
        "tools": [{"name": "OCR", "description": "", "inputs": [], "outputs": []}],
        "files": [{"type": "image", "path": "image/a.jpg", "url": None}],
        "dialogs": [
            {"role": "user", "content": "What is it?"},
            {"role": "assistant", "tool_calls": [{"type": "function", "function": function}], "thought": "look"},
            {"role": "tool", "name": "OCR", "content": {"type": "text", "content": "cat"}},
            {"role": "assistant", "content": "a cat"},
        ],
        "gt_answer": CAT, **changes,
    }  # fmt: skip


def test_the_published_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"0": record(), "7": record(gt_answer=None), "8": record(gt_answer=["a"])}))
    first, *others = read_samples(tmp_path)
    assert (first.id, first.query, first.tools, first.files) == (
        "0", "What is it?", ("OCR",), (tmp_path / "image" / "a.jpg",))  # fmt: skip
    assert first.moves == (call("OCR", image="image/a.jpg"), say("a cat"))
    assert first.returns == ({"type": "text", "content": "cat"},)
    assert [s.answer for s in others] == [None, ["a"]]
    assert read_samples(file)[0] == first


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tools": None}, "tools"), ({"tools": [{}]}, "tools"), ({"files": [{"path": "../x"}]}, "files"),
        ({"files": [{"path": "/etc/passwd"}]}, "files"), ({"dialogs": []}, "dialogs"),
        ({"dialogs": [{"role": "user", "content": 5}, {"role": "assistant", "content": "a"}]}, "dialogs"),
        ({"dialogs": [{"role": "user", "content": "q"}]}, "dialogs"),
        ({"dialogs": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": []}]}, "dialogs"),
        ({"dialogs": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [
            {"function": {"name": "OCR", "arguments": "{}"}}]}]}, "dialogs"),
        ({"gt_answer": 5}, "gt_answer"), ({"gt_answer": {"whitelist": ["a"]}}, "gt_answer"),
        ({"gt_answer": {"whitelist": [["a"]], "blacklist": [5]}}, "gt_answer"), ({"gt_answer": [5]}, "gt_answer"),
    ],
)  # fmt: skip
def test_a_wrong_query_is_named(tmp_path: Path, changes: dict, match: str) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"0": record(), "3": record(**changes)}))
    with pytest.raises(InputError, match=f"query '3': field '{match}'"):
        read_samples(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "5", "[" * 100_000, '{"0": 5}'])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match="dataset.json"):
        read_samples(tmp_path)
    with pytest.raises(MissingFileError, match="GTA's folder"):
        read_samples(tmp_path / "gone")
