"""How a seed of a split becomes the number that all chance of a task grows from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def split_seed(world: str, splits: Sequence[str], split: str, seed: int) -> int:
    """A number whose remainder by the number of splits names the split, so no two splits ever share one.

    >>> split_seed("any", ("train", "test"), "test", 7) % 2
    1
    """
    digest = hashlib.sha256(f"{world}|{split}|{seed}".encode()).digest()
    return int.from_bytes(digest[:6], "big") * len(splits) + splits.index(split)
