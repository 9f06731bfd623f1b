"""Groups without a signal are replaced, with all that belongs to them."""

import torch

from training.refill import other_prompts, refill


def _batch(keep, *, first, prompt_width, completion_width):
    """A batch of groups of two; each row's ids and advantage tell its number, counted from `first`."""
    rows = torch.arange(first, first + len(keep))
    return {
        "keep": torch.tensor(keep),
        "prompt_index": torch.arange(len(keep)) // 2,
        "prompts": [f"prompt of row {first + i}" for i in range(0, len(keep), 2)],
        "prompt_ids": rows[:, None].repeat(1, prompt_width),
        "prompt_mask": torch.ones(len(keep), prompt_width, dtype=torch.long),
        "completion_ids": rows[:, None].repeat(1, completion_width),
        "completion_mask": torch.ones(len(keep), completion_width, dtype=torch.long),
        "advantages": rows.float(),
        "num_items_in_batch": torch.tensor(7),
    }


def test_dead_groups_take_the_rows_of_living_ones():
    batch = _batch([True, False, False, False, False, False], first=10, prompt_width=2, completion_width=3)
    more = _batch([False, False, True, True, False, False], first=20, prompt_width=3, completion_width=2)
    result = refill(batch, more, 2, pad_token=0)
    assert result["keep"].tolist() == [True, False, True, True, False, False]
    assert result["advantages"].tolist() == [10, 11, 22, 23, 14, 15]
    assert [result["prompts"][i] for i in result["prompt_index"][::2]] == [
        "prompt of row 10", "prompt of row 22", "prompt of row 14",
    ]  # fmt: skip
    assert result["prompt_ids"].tolist()[0] == [0, 10, 10] and result["prompt_ids"].tolist()[2] == [22, 22, 22]
    assert result["prompt_mask"].tolist()[0] == [0, 1, 1]
    assert result["completion_ids"].tolist()[2] == [22, 22, 0] and result["completion_mask"].tolist()[2] == [1, 1, 0]
    assert result["num_items_in_batch"] == 7


def test_without_a_living_group_the_batch_stays():
    batch = _batch([False, False], first=10, prompt_width=2, completion_width=3)
    assert refill(batch, _batch([False, False], first=20, prompt_width=4, completion_width=3), 2, 0) is batch
    full = _batch([True, True], first=10, prompt_width=2, completion_width=3)
    assert refill(full, _batch([True, True], first=20, prompt_width=4, completion_width=3), 2, 0) is full


def test_refill_prompts_are_a_function_of_the_key():
    assert other_prompts(50, 8, "a") == other_prompts(50, 8, "a") != other_prompts(50, 8, "b")
    assert len(set(other_prompts(50, 50, "a"))) == 50
    assert len(other_prompts(2, 5, "a")) == 5
