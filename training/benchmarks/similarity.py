"""How like two texts are, by a model of sentence embeddings in this process, as some of GTA's scorers need it.

Source: sentence-transformers/all-mpnet-base-v2, which GTA uses: the mean of the token vectors, at most 384 tokens, then
the cosine. Written on transformers, which is there anyway; its figures are those of sentence-transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

from executors.errors import CheckpointError, InputError

_MAX_TOKENS = 384


def load_similarity(name: str) -> Callable[[str, str], float]:
    """The cosine of the embeddings of two texts, -1..1; embeddings are remembered.

    Args:
        name: folder or hub id of a sentence-transformers model with mean pooling.

    Raises:
        CheckpointError: there is no such model, or it cannot be loaded.
        InputError: it pools in another way.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import cached_file

    try:
        tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()
        pooling = cached_file(name, "1_Pooling/config.json", _raise_exceptions_for_missing_entries=False)
        with open(pooling or "", encoding="utf-8") as file:
            is_mean = json.load(file).get("pooling_mode_mean_tokens") is True
    except (OSError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"similarity {name!r} is no sentence-transformers model that can be loaded ({reason}): "
                              "give a folder or hub id such as sentence-transformers/all-mpnet-base-v2") from None
    if not is_mean:
        raise InputError(f"similarity {name!r} does not pool by the mean of its tokens: give a model that does")

    @lru_cache(maxsize=65_536)
    def embed(text: str) -> torch.Tensor:
        inputs = tokenizer(text, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            tokens_TD = model(**inputs).last_hidden_state[0]
        return torch.nn.functional.normalize(tokens_TD.mean(0), dim=0)

    def similarity(one: str, other: str) -> float:
        return float(embed(one) @ embed(other))

    return similarity
