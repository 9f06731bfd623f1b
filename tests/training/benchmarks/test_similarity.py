"""Likeness of texts by a small model of sentence embeddings, made here with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from executors.errors import CheckpointError, InputError
from training.benchmarks.similarity import load_similarity

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "flag", "and", "a"]


def make_model(folder: Path, pooling: dict) -> Path:
    """A sentence-transformers folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=16)).save_pretrained(folder)  # fmt: skip
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def test_it_is_the_cosine_of_the_mean_token_vectors(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = make_model(tmp_path / "model", {"pooling_mode_mean_tokens": True})
    similarity = load_similarity(str(folder))
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = ["a red flag", "blue and red"]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")  # pooled as sentence-transformers does, with a mask
    mask = inputs["attention_mask"][..., None]
    with torch.no_grad():
        pooled = (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)
    wanted = float(torch.cosine_similarity(pooled[0], pooled[1], dim=0))
    assert similarity(*texts) == pytest.approx(wanted, abs=1e-5)
    assert wanted < 0.999
    assert similarity("a red flag", "a red flag") == pytest.approx(1)
    assert -1 <= similarity("", "red " * 5000) <= 1


def test_what_is_no_such_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mean of its tokens"):
        load_similarity(str(make_model(tmp_path / "cls", {"pooling_mode_cls_token": True})))
    with pytest.raises(CheckpointError, match="similarity"):
        load_similarity(str(tmp_path / "gone"))
    folder = make_model(tmp_path / "none", {})
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(CheckpointError, match="similarity"):
        load_similarity(str(folder))
