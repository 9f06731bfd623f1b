"""GAIA's scorer case by case, its published files, and its figures. All questions here are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError, MissingFileError
from training.benchmarks.gaia import final_answer, is_right, read_tasks, summarise

# Verdicts derived by hand from the three rules of the leaderboard's scorer.py: (answer, truth, right).
NUMBERS = [
    ("42", "42", True), ("42.0", "42", True), (" 42 ", "42", True), ("43", "42", False), ("$42", "42", True),
    ("42%", "42", True), ("1,234", "1234", True), ("$1,234.50", "1234.5", True), ("1 234", "1234", False),
    ("42 km", "42", False), ("forty-two", "42", False), ("-5", "-5", True), ("5", "-5", False), ("+5", "5", True),
    ("1e3", "1000", True), ("1000", "1e3", True), ("0.5", ".5", True), ("1/2", "0.5", False),
    ("0.3333", "0.333", False),
    ("17.0560", "17.056", True), ("€42", "42", False), ("42.", "42", True), ("", "42", False), (None, "42", False),
    ("1_000", "1000", True), ("nan", "nan", False), ("no number at all", "inf", True), ("٤٢", "42", True),
    ("12,34", "1234", True), ("%%4$$2", "42", True), ("42\n", "42", True), ("000", "0", True),
]  # fmt: skip
LISTS = [
    ("a, b, c", "a, b, c", True), ("a,b,c", "a, b, c", True), ("A, B, C", "a, b, c", True),
    ("b, a, c", "a, b, c", False),
    ("a; b; c", "a, b, c", True), ("a, b", "a, b, c", False), ("a, b, c,", "a, b, c", False), ("a b", "a, b", False),
    ("1, 2, 3", "1, 2, 3", True), ("1.0, 2, 3", "1, 2, 3", True), ("$1, 2%, 3", "1, 2, 3", True),
    ("one, 2, 3", "1, 2, 3", False), ("1, b", "1, b", True), ("1, b.", "1, b", False), ("it's, b", "its, b", False),
    ("new york, la", "New York, LA", True), ("newyork,la", "New York, LA", True), ("a, , c", "a, , c", True),
    ("1000", "1,000", False), ("1,000", "1,000", True), ("1,0", "1,000", True), ("and b, c", "b, c", False),
    ("a,b;c", "a;b,c", True), (",", ",", True), ("", "a, b", False), (None, "a, b", False),
]  # fmt: skip
STRINGS = [
    ("Paris", "Paris", True), ("paris", "PARIS", True), ("The Paris", "Paris", False), ("Paris.", "Paris", True),
    ("sea gull", "seagull", True), ("sea-gull", "seagull", True), ("St. Petersburg", "St Petersburg", True),
    ("Saint Petersburg", "St. Petersburg", False), ("naïve", "naive", False), ("“Paris”", "Paris", False),
    ('"Paris"', "Paris", True), ("a\tb\nc", "abc", True), ("Paris\u00a0City", "Paris City", True),
    ("Paris, France", "Paris", False), ("ParisFrance", "Paris", False), ("5 apples", "five apples", False),
    ("3", "three", False), ("None", "none", True), (None, "None", True), ("", "Paris", False), ("!?", "...", True),
    ("a+b", "ab", True), ("12:30", "1230 ", False), ("12:30 pm", "1230pm", True), ("No", "Yes", False),
    ("straße", "STRASSE", False),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "truth", "right"), NUMBERS + LISTS + STRINGS)
def test_verdicts(answer: str | None, truth: str, right: bool) -> None:
    assert is_right(answer, truth) is right


def test_there_are_enough_cases() -> None:
    assert len(set(NUMBERS + LISTS + STRINGS)) >= 60


@given(st.text(), st.text())
def test_any_text_gets_a_verdict(answer: str, truth: str) -> None:
    assert is_right(answer, truth) in (True, False)


@given(st.text(alphabet="ab -.'").filter(str.strip))
def test_a_text_is_its_own_answer(text: str) -> None:
    assert is_right(text.upper(), text)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("FINAL ANSWER: 5", "5"), ("x\nFINAL ANSWER: a, b\nbye", "a, b"), ("Final answer: 5\nFINAL ANSWER: 6 ", "6"),
        ("just 5", "just 5"), ("FINAL ANSWER:", "FINAL ANSWER:"), ("", ""),
    ],
)  # fmt: skip
def test_the_answer_is_behind_the_last_mark(reply: str, answer: str) -> None:
    assert final_answer(reply) == answer


def row(number: int, level: int | str = 1, **changes: object) -> dict:
    """A row as GAIA publishes it."""
    return {
        "task_id": f"t{number}", "Question": f"question {number}", "Level": str(level), "Final answer": f"{number}",
        "file_name": "", "file_path": "", "Annotator Metadata": {"Steps": "", "Number of steps": "2"}, **changes,
    }  # fmt: skip


def write(path: Path, *rows: dict) -> Path:
    """Rows as parquet or JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize("name", ["metadata.parquet", "metadata.jsonl"])
def test_both_published_forms_are_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "2023" / "validation"
    file = write(folder / name, row(1, file_name="a.xlsx"), row(2, 3), row(3, 2, **{"Final answer": "?"}))
    tasks = read_tasks(tmp_path)
    assert [(t.id, t.question, t.level, t.answer) for t in tasks] == [
        ("t1", "question 1", 1, "1"), ("t2", "question 2", 3, "2"), ("t3", "question 3", 2, None)]  # fmt: skip
    assert (tasks[0].file, tasks[1].file) == (folder / "a.xlsx", None)
    assert tasks == read_tasks(folder) == read_tasks(file)
    assert [t.id for t in read_tasks(tmp_path, level=3)] == ["t2"]


def test_files_of_single_levels_are_read_together(tmp_path: Path) -> None:
    for level in (1, 2, 3):
        write(tmp_path / "2023" / "validation" / f"metadata.level{level}.parquet", row(level, level))
    assert [t.level for t in read_tasks(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"task_id": None}, "task_id"), ({"Question": " "}, "Question"), ({"Level": "4"}, "Level"),
        ({"Final answer": 5}, "Final answer"), ({"file_name": "../x"}, "plain file name"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(tmp_path: Path, changes: dict, match: str) -> None:
    with pytest.raises(InputError, match=match) as error:
        read_tasks(write(tmp_path / "metadata.jsonl", row(1), row(2, **changes)))
    assert "row 2" in str(error.value)


def test_wrong_files_and_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="your own access"):
        read_tasks(tmp_path)
    with pytest.raises(InputError, match="split"):
        read_tasks(tmp_path, split="train")
    with pytest.raises(InputError, match="level"):
        read_tasks(tmp_path, level=4)
    (tmp_path / "metadata.jsonl").write_text("{}\n{")
    with pytest.raises(InputError, match="task_id"):
        read_tasks(tmp_path)
    (tmp_path / "metadata.jsonl").write_text("{")
    with pytest.raises(InputError, match="line 1"):
        read_tasks(tmp_path)
    (tmp_path / "metadata.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="parquet"):
        read_tasks(tmp_path)


def test_figures_count_what_is_missing_failed_and_hidden(tmp_path: Path) -> None:
    tasks = read_tasks(write(tmp_path / "metadata.jsonl", row(1), row(2), row(3, 2), row(4, 3),
                             row(5, **{"Final answer": "?"})))
    figures = summarise(tasks, {"t1": "1", "t2": "7", "t3": "3.0", "t5": "5"}, errors=["t3"])
    assert figures == {"AnsAcc": 25.0, "L1": 50.0, "L2": 0.0, "L3": 0.0, "num_tasks": 4, "num_right": 1,
                       "num_hidden": 1, "num_without_answer": 1, "num_errors": 1}
    assert summarise([], {})["AnsAcc"] is None
