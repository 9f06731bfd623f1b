"""GAIA: its published format, its official scorer, the convention by which an answer is read, and the figures.

    data      `2023/<split>/metadata.parquet`, `metadata.level1.parquet` ... or, in older copies, `metadata.jsonl`
    scorer    number, list and string rules of the leaderboard, with their quirks; no tolerance, order counts
    answer    what follows the last "FINAL ANSWER:", else the whole reply

GAIA is gated and asks not to be shared again: this reads the user's own copy, and nothing of it is stored or shipped.
Answers of the test split are hidden, so only the validation split is scored here.

Source: gaia-benchmark/leaderboard, scorer.py; the data set's card. MAT-Agent scores twice, the second time after a
model has written a wrong answer anew, and takes the better; that is not done here.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError

SPLITS = ("validation", "test")
LEVELS = (1, 2, 3)

PROMPT = (
    "You are a general AI assistant. I will ask you a question. Report your thoughts, and finish your answer with the "
    "following template: FINAL ANSWER: [YOUR FINAL ANSWER]. YOUR FINAL ANSWER should be a number OR as few words as "
    "possible OR a comma separated list of numbers and/or strings. If you are asked for a number, don't use comma to "
    "write your number neither use units such as $ or percent sign unless specified otherwise. If you are asked for a "
    "string, don't use articles, neither abbreviations (e.g. for cities), and write the digits in plain text unless "
    "specified otherwise. If you are asked for a comma separated list, apply the above rules depending of whether the "
    "element to be put in the list is a number or a string."
)
"""The system prompt that GAIA's paper publishes; its wording is part of the benchmark."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_FINAL = re.compile(r"FINAL ANSWER:[ \t]*(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaiaTask:
    """One question. `answer` is None where it is hidden; `file` is the attached file, None where there is none."""

    id: str
    question: str
    level: int
    answer: str | None = None
    file: Path | None = None


def read_tasks(
    path: Path, *, split: str = "validation", level: int | None = None, skipped: list[str] | None = None
) -> list[GaiaTask]:
    """The questions of a copy of GAIA, in its order.

    Args:
        path: the copy's folder (the one that holds `2023`, or `2023/<split>` itself), or one metadata file.
        split: "validation" or "test"; not looked at where a file is given.
        level: only this level, 1 to 3.
        skipped: takes the places of rows that are not in GAIA's form, and nothing of what is in them; None raises for
            the first.

    Raises:
        MissingFileError: there is no metadata file.
        InputError: a wrong split or level, or a row with a missing or wrong column, which the message names.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r}: choose one of {', '.join(SPLITS)}")
    if level is not None and level not in LEVELS:
        raise InputError(f"level {level!r}: choose one of 1, 2, 3")
    tasks: dict[str, GaiaTask] = {}
    for file in _metadata_files(path, split):
        for number, row in enumerate(_rows(file), start=1):
            try:
                task = _task(row, file, number)
            except InputError:
                if skipped is None:
                    raise
                skipped.append(f"{file.name} row {number}")
                continue
            tasks.setdefault(task.id, task)
    return [task for task in tasks.values() if level in (None, task.level)]


def _metadata_files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path]
    for folder in (path / "2023" / split, path / split, path):
        for pattern in ("metadata.parquet", "metadata.level*.parquet", "metadata.jsonl"):
            if files := sorted(folder.glob(pattern)):
                return files
    raise MissingFileError(f"{path} holds no GAIA ({split}): give the folder that has 2023/{split}/metadata.parquet, "
                           "downloaded with your own access from huggingface.co/datasets/gaia-benchmark/GAIA")


def _rows(file: Path) -> Iterator[Any]:
    if file.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            yield from pyarrow.parquet.read_table(file).to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{file} is not a readable parquet file ({error}): download it again") from None
        return
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                if line.strip():
                    yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{file} line {number}: not JSON ({error}): download the file again") from None


def _task(row: Any, file: Path, number: int) -> GaiaTask:
    place = f"{file} row {number}"
    if not isinstance(row, Mapping):
        raise InputError(f"{place}: {row!r} is not an object")
    for name in ("task_id", "Question"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise InputError(f"{place}: column {name!r}: {row.get(name)!r} is not text")
    level = str(row.get("Level", ""))
    if level not in ("1", "2", "3"):
        raise InputError(f"{place}: column 'Level': {row.get('Level')!r} is not 1, 2 or 3")
    answer, name = row.get("Final answer"), row.get("file_name") or ""
    if not isinstance(answer, (str, type(None))) or not isinstance(name, str):
        raise InputError(f"{place}: columns 'Final answer' and 'file_name': {answer!r}, {name!r} are not text")
    if "/" in name or name in (".", ".."):
        raise InputError(f"{place}: column 'file_name': {name!r} is not a plain file name")
    is_hidden = answer in (None, "", "?")
    return GaiaTask(id=row["task_id"], question=row["Question"], level=int(level),
                    answer=None if is_hidden else answer, file=file.parent / name if name else None)


def final_answer(reply: str) -> str:
    """What follows the last "FINAL ANSWER:" on its line, else the whole reply, without space around it.

    >>> final_answer("I think so. FINAL ANSWER: 42 ")
    '42'
    """
    found = _FINAL.findall(reply)
    return (found[-1] if found else reply).strip()


def is_right(answer: str | None, truth: str) -> bool:
    """Whether an answer is right by the leaderboard's rules, quirks kept.

    1. The truth reads as a number (Python's float): "$", "%" and "," are deleted from the answer, which must then read
       as the same number; an answer that reads as none counts as infinity.
    2. The truth holds "," or ";": both are split there and must have as many parts; a part that is a number is compared
       by rule 1, else without white space and in lower case, punctuation kept.
    3. Else both without white space and ASCII punctuation, in lower case.

    Args:
        answer: the model's; None counts as the text "None".
        truth: the recorded answer.

    >>> is_right("$1,234.50", "1234.5"), is_right("b, a", "a, b"), is_right("The Sea-Gull", "the seagull")
    (True, False, True)
    """
    answer = "None" if answer is None else answer
    if _is_number(truth):
        return _number(answer) == float(truth)
    if "," in truth or ";" in truth:
        parts, wanted = re.split("[,;]", answer), re.split("[,;]", truth)
        return len(parts) == len(wanted) and all(
            _number(part) == float(want) if _is_number(want) else _squeeze(part) == _squeeze(want)
            for part, want in zip(parts, wanted)
        )
    return _squeeze(answer).translate(_PUNCTUATION) == _squeeze(truth).translate(_PUNCTUATION)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    for sign in "$%,":
        text = text.replace(sign, "")
    return float(text) if _is_number(text) else float("inf")


def _squeeze(text: str) -> str:
    return re.sub(r"\s", "", text).lower()


def summarise(
    tasks: Sequence[GaiaTask], answers: Mapping[str, str | None], errors: Iterable[str] = ()
) -> dict[str, Any]:
    """GAIA's figures: the share of right answers of all tasks and of each level, in percent.

    Args:
        tasks: those to score, one as often as it is there; tasks with a hidden answer are counted apart.
        answers: by task id; a task without one is wrong.
        errors: ids of tasks whose run failed; they are wrong too.

    Returns:
        A JSON object; a rate is None where there is no task.
    """
    scored = [task for task in tasks if task.answer is not None]
    right = {task.id for task in scored if task.id in answers and is_right(answers[task.id], task.answer)}
    right -= set(errors)
    num_right = sum(task.id in right for task in scored)
    levels = {f"L{level}": [task for task in scored if task.level == level] for level in LEVELS}
    return {
        "AnsAcc": _percent(num_right, len(scored)),
        **{name: _percent(sum(task.id in right for task in group), len(group)) for name, group in levels.items()},
        "num_tasks": len(scored), "num_right": num_right, "num_hidden": len(tasks) - len(scored),
        "num_without_answer": sum(task.id not in answers for task in scored), "num_errors": len(set(errors)),
    }  # fmt: skip


def _percent(count: int, total: int) -> float | None:
    return 100 * count / total if total else None
