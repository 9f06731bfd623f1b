"""TRL's own trainer and its own log-probabilities, unchanged: what the shared-prefix path is compared with."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from datasets import Dataset
from trl import GRPOTrainer

from training.prompt_stream import PromptStream


class StockTrainer(GRPOTrainer):
    """TRL's GRPOTrainer on planner samples; only the order of prompts is ours, so that two runs can be compared."""

    def __init__(self, *, samples, forecast, reward, **kwargs):
        """`kwargs` are GRPOTrainer's besides dataset and rewards."""

        def transform(rows):
            images = [samples[index].load_image() for index in rows["sample"]]
            return {
                "prompt": [samples[index].messages(forecast) for index in rows["sample"]],
                "images": [[] if image is None else [image] for image in images],
                "sample": rows["sample"],
            }

        dataset = Dataset.from_dict({"sample": list(range(len(samples)))})
        dataset.set_transform(transform)
        super().__init__(reward_funcs=[reward], train_dataset=dataset, **kwargs)

    def _get_train_sampler(self, dataset=None):
        args = self.args
        windows = -(-args.max_steps * args.gradient_accumulation_steps // args.steps_per_generation)
        return PromptStream(
            len(self.train_dataset),
            group_size=self.num_generations,
            prompts=args.generation_batch_size // self.num_generations,
            passes=self.num_iterations * args.steps_per_generation,
            batches=-(-windows // self.num_iterations),
            seed=args.seed,
        )


def stock_log_probs(model, batch, autocast=nullcontext):
    """(log-probabilities, entropies) [R, C] of a batch of `shared_prefix_helpers`, by TRL's own function."""
    compute = GRPOTrainer._get_per_token_logps_and_entropies
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=autocast))
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1)
    mask = torch.cat([batch.prompt_mask, batch.completion_mask], dim=1)
    images = {}
    if batch.pixels_of_rows is not None:
        types = (ids == model.config.image_token_id).int()
        images = {"pixel_values": batch.pixels_of_rows, "image_grid_thw": batch.grids_of_rows}
        images |= {"num_images": batch.num_images_of_rows, "mm_token_type_ids": types}
    logps, entropies, _ = compute.__wrapped__(
        trainer, model, ids, mask, batch.completion_ids.size(1), compute_entropy=True, **images
    )
    return logps, entropies
