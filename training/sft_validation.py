"""What a planner in SFT gets right on validation samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from training.config import SftConfig
from training.forecast import parse_forecast
from training.sft_batches import Collator, SftRecord


def validate(
    model: Any, processor: Any, records: Sequence[SftRecord], collator: Collator, config: SftConfig
) -> dict[str, float]:
    """Shares of validation samples whose greedy reply is right: "val/..." scores, each 0..1.

    `first_step_accuracy`: the first step's action and instruction equal the reference's (other right steps count as
    wrong); `operation_accuracy`: its action type does; `thought_accuracy`: mean `words_in_order` of the thought;
    `parse_rate`: the whole reply follows the grammar.
    """
    import torch

    sums: Counter[str] = Counter()
    was_training = model.training
    model.eval()
    longest = max(len(record.completion_ids) for record in records) + 8
    for start in range(0, len(records), config.optim.batch_size):
        part = records[start : start + config.optim.batch_size]
        images = [image for record in part if (image := record.sample.load_image()) is not None]
        inputs = collator.prompts([record.prompt_ids for record in part], images)
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=longest, do_sample=False)
        replies = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for record, reply in zip(part, replies, strict=True):
            sums.update(_score(reply, record, config))
    model.train(was_training)
    return {f"val/{name}": value / len(records) for name, value in sums.items()}


def _score(reply: str, record: SftRecord, config: SftConfig) -> dict[str, float]:
    size = record.sample.observation.image_size
    forecast = parse_forecast(reply, horizon=config.forecast.horizon, family=config.forecast.family, image=size)
    first = forecast.first
    return {
        "first_step_accuracy": float(first == record.steps[0]),
        "operation_accuracy": float(first is not None and first.action.type == record.steps[0].action.type),
        "thought_accuracy": words_in_order(forecast.thought, record.sample.thought),
        "parse_rate": float(forecast.ok),
    }


def words_in_order(thought: str, reference: str) -> float:
    """Share of the reference's words that the thought says in the same order, 0..1; punctuation does not count.

    Right words in the wrong order or place are not counted twice; 1 for a reference without words.

    >>> words_in_order("Notes : Ocean , Tiger", "Notes : Tiger , Ocean , River")
    0.5
    """
    said, told = ([w for w in text.split() if any(map(str.isalnum, w))] for text in (thought, reference))
    if not told:
        return 1.0
    blocks = SequenceMatcher(None, told, said, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(told)
