"""What reads letters and words off the vision tower in the reading lessons (training.reading).

Shapes: N image tokens, H features, S slots, G glyphs, C letters, W tokens of words, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from training.reading import NUM_LETTERS, NUM_SLOTS

if TYPE_CHECKING:
    from transformers import Qwen3VLForConditionalGeneration

_PLACE_WEIGHT = 10.0
"""Weight of where letters stand, a mean over all slots of which few are taken (ours)."""


def attach_reading_head(model: Qwen3VLForConditionalGeneration, seed: int) -> None:
    """Gives the model a `reading_head` of random start, which is saved and trained with it."""
    text = model.config.text_config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = ReadingHead(text.hidden_size, text.vocab_size)
    model.reading_head = head.to(model.device)


def detach_reading_head(model: Qwen3VLForConditionalGeneration) -> None:
    """Takes the `reading_head` away again, if there is one."""
    if hasattr(model, "reading_head"):
        del model.reading_head


def read(model: Qwen3VLForConditionalGeneration, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, float]]:
    """What `ReadingHead` says of a batch that `collate_lessons` made."""
    seen = model.model.visual(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
    embedding_VH = model.get_input_embeddings().weight
    return model.reading_head(seen.pooler_output, embedding_VH, batch["glyphs"], batch["words"])


class ReadingHead(torch.nn.Module):
    """Reads letters and words off image tokens; only the lessons need it.

    The tokens are standardised over the batch before they are read. Without that a tower of random weights answers
    every lesson with what the answers have in common, and the tokens of all screens become alike. `settle` then puts
    the standardisation into the tower's last layer.
    """

    def __init__(self, hidden_size: int, vocab_size: int) -> None:
        """A head for tokens of `hidden_size` features and a vocabulary of `vocab_size` tokens."""
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(hidden_size, affine=False)
        self.places = torch.nn.Linear(hidden_size, NUM_SLOTS)
        self.letters = torch.nn.Linear(hidden_size, NUM_SLOTS * NUM_LETTERS)
        self.word_gain = torch.nn.Parameter(torch.ones(()))
        self.word_bias = torch.nn.Parameter(torch.full((vocab_size,), -3.0))
        self.register_buffer("is_settled", torch.zeros((), dtype=torch.bool))
        torch.nn.init.constant_(self.places.bias, -4.0)  # few slots hold a letter

    def forward(
        self, states_NH: torch.Tensor, embedding_VH: torch.Tensor, glyphs_G3: torch.Tensor, words_W2: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """(loss, shares of letters and of words' tokens that were right).

        Args:
            states_NH: the tower's image tokens.
            embedding_VH: the token embeddings, which learn nothing here.
            glyphs_G3: as of `collate_lessons`.
            words_W2: likewise.
        """
        states_NH = self.norm(states_NH.float())
        cells, slots, letters = glyphs_G3.unbind(1)
        taken_NS = torch.zeros(len(states_NH), NUM_SLOTS, device=states_NH.device)
        taken_NS[cells, slots] = 1.0
        place_loss = F.binary_cross_entropy_with_logits(self.places(states_NH).float(), taken_NS)
        letters_GC = self.letters(states_NH).view(-1, NUM_SLOTS, NUM_LETTERS)[cells, slots].float()
        word_cells, words = words_W2.unbind(1)
        words_WV = self.word_gain * (states_NH[word_cells] @ embedding_VH.detach().T).float() + self.word_bias
        loss = _PLACE_WEIGHT * place_loss + _mean_loss(letters_GC, letters) + _mean_loss(words_WV, words)
        scores = {"letter_accuracy": _share_right(letters_GC, letters), "word_accuracy": _share_right(words_WV, words)}
        return loss, scores

    @torch.no_grad()
    def settle(self, last: torch.nn.Linear) -> None:
        """Makes `last`, the tower's last layer, give tokens of mean 0 and variance 1, as this head saw them; once."""
        if self.is_settled:
            return
        deviation_H = (self.norm.running_var + self.norm.eps).sqrt()
        last.weight.div_(deviation_H[:, None])
        last.bias.sub_(self.norm.running_mean).div_(deviation_H)
        self.is_settled.fill_(True)


def _mean_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, targets) if len(targets) else logits.sum() * 0.0


def _share_right(logits: torch.Tensor, targets: torch.Tensor) -> float:
    return (logits.argmax(-1) == targets).float().mean().item() if len(targets) else 0.0
