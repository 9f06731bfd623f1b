"""GTA: its published format, its official scorers, a strict reading of answers, and T3-Agent's own AnsAcc.

    teacher-forced  each step is predicted after the recorded steps before it: InstAcc, ToolAcc, ArgAcc, SummAcc
    end to end      the planner acts alone: AnsAcc, AnsAcc with image generation, F1 of the tools of four categories
    matchers        "official" (a regular expression with its quirk), "strict" (ours), "t3" (T3-Agent's, lenient)

Subjective answers and image queries need a similarity of sentences; GTA uses all-mpnet-base-v2. Without one those
samples are not scored: the figures that need it are None, and the count of them is told.

Source: open-compass/GTA, opencompass/opencompass/datasets/gta_bench.py (commit 10eb3d2). Where upstream divides by zero
the figure is None. T3-Agent's rule: mat-agent/MAT-Agent, examples/gta/eval.py (commit 121e1a4).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from executors.errors import InputError, MissingFileError
from executors.toolbox.registry import T3_TO_GTA

Similarity = Callable[[str, str], float]

CATEGORIES: dict[str, tuple[str, ...]] = {
    "perception": ("OCR", "ImageDescription", "RegionAttributeDescription", "TextToBbox"),
    "operation": ("DrawBox", "AddText", "GoogleSearch"),
    "logic": ("Calculator", "Solver", "Plot", "MathOCR", "CountGivenObject"),
    "creativity": ("TextToImage", "ImageStylization"),
}
_CATEGORY = {name: category for category, names in CATEGORIES.items() for name in names}
IMAGE_TOOLS = frozenset(("DrawBox", "AddText", "Plot", "TextToImage", "ImageStylization"))
_TINY = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of a dialog: a call ("tool") with name and arguments, an "answer" with its text, or a "tool_return".

    `is_error` says that the step could not be read or run; upstream marks such a message with the key "error".
    """

    kind: Literal["tool", "answer", "tool_return"]
    name: str = ""
    arguments: Mapping[str, Any] | None = None
    text: str = ""
    is_error: bool = False

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Move:
        """The step of a message in GTA's form; of several tool calls the first counts."""
        is_error = "error" in message
        if "tool_calls" in message:
            call = message["tool_calls"][0]["function"]
            return cls(kind="tool", name=call["name"], arguments=call["arguments"], is_error=is_error)
        kind = "answer" if message.get("role") == "assistant" else "tool_return"
        content = message.get("content")
        return cls(kind=kind, text=content if isinstance(content, str) else json.dumps(content), is_error=is_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class GtaSample:
    """One query.

    `files` are the attached files, `names` their paths below `root`, as the dialogs write them. `moves` are the
    recorded steps of the assistant (calls, then the answer), `returns` what each call gave.
    `answer` is {"whitelist": [[alias, ...], ...], "blacklist": None or the same} (objective), a list of texts
    (subjective), or None (the query asks for an image).
    """

    id: str
    query: str
    tools: tuple[str, ...]
    files: tuple[Path, ...]
    moves: tuple[Move, ...]
    returns: tuple[Any, ...] = ()
    answer: Mapping[str, Any] | list[str] | None = None
    names: tuple[str, ...] = ()
    root: Path = Path()


def read_samples(path: Path, *, skipped: dict[str, str] | None = None) -> list[GtaSample]:
    """The queries of GTA's `dataset.json`, in its order; files are named by their path beside it.

    Args:
        path: the file, or the folder that holds it.
        skipped: takes the queries that are not in GTA's form, with what is wrong, by id; None raises for the first.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is no JSON, or a query lacks a field or has a wrong one; the message names query and field.
    """
    file = path / "dataset.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"{file} does not exist: give GTA's folder, which holds dataset.json") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not readable JSON ({error}): download it again") from None
    if not isinstance(data, Mapping) or not data:
        raise InputError(f"{file} is not an object of queries: give GTA's dataset.json")
    samples = []
    for key, record in data.items():
        try:
            samples.append(_sample(key, record, file))
        except InputError as error:
            if skipped is None:
                raise
            skipped[str(key)] = str(error)
    return samples


def _sample(key: str, record: Any, file: Path) -> GtaSample:
    def wrong(name: str, value: Any) -> InputError:
        shown = repr(value)
        return InputError(f"{file} query {key!r}: field {name!r}: {shown[:80]} is not in GTA's form")

    if not isinstance(record, Mapping):
        raise wrong("(query)", record)
    for name in ("tools", "files", "dialogs"):
        if not isinstance(record.get(name), list) or not all(isinstance(item, Mapping) for item in record[name]):
            raise wrong(name, record.get(name))
    dialogs, answer = record["dialogs"], record.get("gt_answer")
    if not _is_answer(answer):
        raise wrong("gt_answer", answer)
    names = [tool.get("name") for tool in record["tools"]]
    paths = [item.get("path") for item in record["files"]]
    for field, values in (("tools", names), ("files", paths)):
        if not all(isinstance(value, str) and value for value in values):
            raise wrong(field, values)
    if any(Path(value).is_absolute() or ".." in Path(value).parts for value in paths):
        raise wrong("files", paths)
    try:
        moves = tuple(Move.of(message) for message in dialogs if message["role"] == "assistant")
        query = next(message["content"] for message in dialogs if message["role"] == "user")
    except (KeyError, IndexError, TypeError, StopIteration):
        raise wrong("dialogs", dialogs) from None
    is_well_formed = all(
        move.kind != "tool" or (_is_text(move.name) and isinstance(move.arguments, Mapping)) for move in moves
    )
    if not _is_text(query) or not moves or not is_well_formed:
        raise wrong("dialogs", dialogs)
    return GtaSample(
        id=str(key), query=query, tools=tuple(names), files=tuple(file.parent / value for value in paths), moves=moves,
        returns=tuple(m.get("content") for m in dialogs if m["role"] == "tool"), answer=answer, names=tuple(paths),
        root=file.parent,
    )  # fmt: skip


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_answer(answer: Any) -> bool:
    def is_groups(value: Any) -> bool:
        return isinstance(value, list) and all(
            isinstance(group, list) and all(isinstance(alias, str) for alias in group) for group in value)

    if isinstance(answer, Mapping):
        return is_groups(answer.get("whitelist")) and (not answer.get("blacklist") or is_groups(answer["blacklist"]))
    return answer is None or (isinstance(answer, list) and all(isinstance(text, str) for text in answer))


def is_right_official(answer: str, truth: Mapping[str, Any]) -> bool:
    r"""GTA's verdict on an objective answer: of every whitelist group one alias is there, and none of the blacklist.

    An alias is there as r"\b(?:alias|alias)\b", letter case ignored. So an alias that begins or ends with a symbol is
    never found beside a space ("50%" is not in "50% off"), while "10" is in "10.5".

    >>> is_right_official("It is 10.5 km", {"whitelist": [["10"]], "blacklist": None})
    True
    """
    return _matches(answer, truth, lambda aliases: rf"\b(?:{'|'.join(map(re.escape, aliases))})\b")


def is_right_strict(answer: str, truth: Mapping[str, Any]) -> bool:
    """The same with edges that mean what they say (ours): an alias is there where no letter, digit or underscore
    touches it, and no digit across a point or comma. Symbols of an alias count; an empty alias is never there.

    >>> is_right_strict("50% off", {"whitelist": [["50%"]]}), is_right_strict("10.5", {"whitelist": [["10"]]})
    (True, False)
    """
    return _matches(answer, truth, _strict_pattern)


def _strict_pattern(aliases: Sequence[str]) -> str:
    words = "|".join(re.escape(alias) for alias in aliases if alias.strip())
    return rf"(?<!\w)(?<!\d[.,])(?:{words})(?!\w)(?![.,]\d)" if words else r"(?!)"


def _matches(answer: str, truth: Mapping[str, Any], pattern_of: Callable[[Sequence[str]], str]) -> bool:
    def is_there(aliases: Sequence[str]) -> bool:
        return re.search(pattern_of(aliases), answer, re.IGNORECASE) is not None

    unwanted = [alias for group in truth.get("blacklist") or () for alias in group]
    has_unwanted = bool(truth.get("blacklist")) and is_there(unwanted)
    return all(map(is_there, truth["whitelist"])) and not has_unwanted


def is_right_t3(answer: str, truth: Mapping[str, Any]) -> bool:
    """T3-Agent's lenient verdict: of every whitelist group one alias is somewhere in the answer, in lower case; the
    blacklist is not looked at.

    >>> is_right_t3("A catalogue", {"whitelist": [["cat"]], "blacklist": [["catalogue"]]})
    True
    """
    return all(any(alias.lower() in answer.lower() for alias in aliases) for aliases in truth["whitelist"])


MATCHERS: dict[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "official": is_right_official, "strict": is_right_strict, "t3": is_right_t3,
}


def score_teacher_forced(
    samples: Sequence[GtaSample], predictions: Mapping[str, Sequence[Move]], *, matcher: str = "official",
    similarity: Similarity | None = None,
) -> dict[str, Any]:
    """GTA's figures of the mode every_with_gt, in percent.

    InstAcc is the share of steps of the recorded type (call or answer) without an error, of all recorded calls and all
    samples with an answer; upstream counts the answers of image queries above, not below, so it can pass 100. ToolAcc
    and ArgAcc are shares of the recorded calls: the same name, and besides equal arguments; errors count there too.
    SummAcc is the mean verdict on the answers of samples that have one.

    Args:
        samples: what was recorded.
        predictions: by sample id, one move for each recorded one; missing ones are wrong.
        matcher: a name of `MATCHERS`.
        similarity: of two texts, -1 to 1; see the module.
    """
    judge = Judge(matcher, similarity)
    counts: Counter[str] = Counter()
    answered = 0.0
    for sample in samples:
        counts["answers"] += bool(sample.answer)
        counts["calls"] += sum(move.kind == "tool" for move in sample.moves)
        for predicted, wanted in zip(predictions.get(sample.id, ()), sample.moves):
            counts["predicted"] += 1
            counts["errors"] += predicted.is_error
            counts["type"] += predicted.kind == wanted.kind and not predicted.is_error
            if predicted.kind == wanted.kind == "tool" and predicted.name == wanted.name:
                counts["tool"] += 1
                counts["arguments"] += predicted.arguments == wanted.arguments
            elif predicted.kind == wanted.kind == "answer" and sample.answer:
                answered += judge.score(predicted.text, sample.answer)
    num_moves = sum(len(sample.moves) for sample in samples)
    return {
        "InstAcc": _percent(counts["type"], counts["calls"] + counts["answers"]),
        "ToolAcc": _percent(counts["tool"], counts["calls"]), "ArgAcc": _percent(counts["arguments"], counts["calls"]),
        "SummAcc": None if judge.num_unscored else _percent(answered, counts["answers"]),
        "num_samples": len(samples), "num_steps": num_moves, "num_missing": num_moves - counts["predicted"],
        "num_errors": counts["errors"], "num_unscored": judge.num_unscored, "matcher": matcher,
    }  # fmt: skip


def score_end_to_end(
    samples: Sequence[GtaSample], predictions: Mapping[str, Sequence[Move]], *, matcher: str = "official",
    similarity: Similarity | None = None,
) -> dict[str, Any]:
    """GTA's figures of the mode every, in percent.

    AnsAcc is the mean verdict on the last moves of samples that have an answer. AnsAcc with image generation is over
    all samples: an image query gets the product, over the recorded calls of image tools, of the similarity of their
    arguments (as JSON) and those of the last such call without an error, and 0 where there was none. F1 of a category:
    a recorded call is hit when its tool was called at all; precision is hits / (calls of the category + 1e-5), recall
    hits / recorded calls.

    Args:
        samples: what was recorded.
        predictions: by sample id, all moves of the run in order; a missing run is wrong.
        matcher: a name of `MATCHERS`.
        similarity: of two texts, -1 to 1; see the module.
    """
    judge = Judge(matcher, similarity)
    answered = images = 0.0
    hits: Counter[str] = Counter()
    called: Counter[str] = Counter()
    recorded: Counter[str] = Counter()
    num_errors = num_unscored_images = 0
    for sample in samples:
        run = list(predictions.get(sample.id, ()))
        if not sample.answer:
            score = judge.image_score(run, sample.moves)
            num_unscored_images += score is None
            images += score or 0.0
        elif run and run[-1].kind == "answer" and run[-1].text:
            answered += judge.score(run[-1].text, sample.answer)
        calls = [move for move in run if move.kind == "tool"]
        num_errors += sum(move.is_error for move in calls)
        called.update(_CATEGORY.get(move.name, "none") for move in calls)
        names = {move.name for move in calls}
        for move in sample.moves:
            if move.kind == "tool":
                category = _CATEGORY.get(move.name, "none")
                recorded[category] += 1
                hits[category] += move.name in names
    num_answers = sum(bool(sample.answer) for sample in samples)
    is_scored = not judge.num_unscored
    return {
        "AnsAcc": _percent(answered, num_answers) if is_scored else None,
        "AnsAcc+ImgGen": _percent(answered + images, len(samples)) if is_scored and not num_unscored_images else None,
        **{f"{name[0].upper()}_F1": _f1(hits[name], called[name], recorded[name]) for name in CATEGORIES},
        "num_samples": len(samples), "num_missing": sum(not predictions.get(s.id) for s in samples),
        "num_errors": num_errors, "num_unscored": judge.num_unscored + num_unscored_images, "matcher": matcher,
    }  # fmt: skip


def score_t3(samples: Sequence[GtaSample], answers: Mapping[str, str]) -> dict[str, Any]:
    """T3-Agent's AnsAcc, in percent: `is_right_t3` over samples with an objective answer; the others are left out.

    Args:
        samples: what was recorded.
        answers: final answers by sample id; a missing one is wrong.
    """
    scored = [sample for sample in samples if isinstance(sample.answer, Mapping)]
    num_right = sum(is_right_t3(answers[s.id], s.answer) for s in scored if s.id in answers)
    return {"AnsAcc_T3": _percent(num_right, len(scored)), "num_samples": len(scored), "num_right": num_right}


def code_exec(outcomes: Iterable[bool]) -> float | None:
    """CodeExec, ours: the percentage of code actions that ran without an exception; None when there were none.

    Args:
        outcomes: one for each code action; a reply whose code could not be read is a False.

    >>> code_exec([True, True, False, True])
    75.0
    """
    outcomes = list(outcomes)
    return _percent(sum(outcomes), len(outcomes))


def tool_accuracy(samples: Sequence[GtaSample], called: Mapping[str, Iterable[str]]) -> float | None:
    """ToolAcc of runs end to end, ours: the percentage of recorded calls whose tool the run called at all.

    A T3-Agent tool counts for all of GTA's tools that `T3_TO_GTA` gives it.

    Args:
        samples: what was recorded.
        called: names of the tools that each run called, by sample id, GTA's or T3-Agent's.
    """
    num_hits = num_calls = 0
    for sample in samples:
        names = {part for name in called.get(sample.id, ()) for part in (name, *T3_TO_GTA.get(name, ()))}
        wanted = [move.name for move in sample.moves if move.kind == "tool"]
        num_calls += len(wanted)
        num_hits += sum(name in names for name in wanted)
    return _percent(num_hits, num_calls)


class Judge:
    """Verdicts 0..1 on answers and images; `num_unscored` counts what could not be judged without a similarity."""

    def __init__(self, matcher: str, similarity: Similarity | None) -> None:
        if matcher not in MATCHERS:
            raise InputError(f"matcher {matcher!r}: choose one of {', '.join(MATCHERS)}")
        self._is_right, self._similarity = MATCHERS[matcher], similarity
        self.num_unscored = 0

    def verdict(self, answer: str, truth: Mapping[str, Any] | list[str]) -> float | None:
        """How right an answer is; None for a subjective one without a similarity."""
        if isinstance(truth, Mapping):
            return float(self._is_right(answer, truth))
        return None if self._similarity is None else max(0.0, *(self._similarity(answer, text) for text in truth))

    def score(self, answer: str, truth: Mapping[str, Any] | list[str]) -> float:
        """The verdict, 0 where there is none, which is counted."""
        verdict = self.verdict(answer, truth)
        self.num_unscored += verdict is None
        return verdict or 0.0

    def image_score(self, run: Sequence[Move], recorded: Sequence[Move]) -> float | None:
        """How like the recorded calls of image tools a run's are, 0..1; None where that needs a similarity."""
        made = {m.name: m.arguments for m in run if m.kind == "tool" and not m.is_error and m.name in IMAGE_TOOLS}
        wanted = [move for move in recorded if move.kind == "tool" and move.name in IMAGE_TOOLS]
        if any(move.name not in made for move in wanted):
            return 0.0
        if wanted and self._similarity is None:
            return None
        score = 1.0
        for move in wanted:
            score *= max(0.0, self._similarity(json.dumps(move.arguments), json.dumps(made[move.name])))
        return score


def _f1(num_hits: int, num_called: int, num_recorded: int) -> float | None:
    if not num_recorded:
        return None
    precision, recall = num_hits / (num_called + _TINY), num_hits / num_recorded
    return 100 * 2 * precision * recall / (precision + recall + _TINY)


def _percent(count: float, total: int) -> float | None:
    return 100 * count / total if total else None
