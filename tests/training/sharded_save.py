"""Two processes that hold half of a planner each save it, as the trainer does after FSDP2. Run by torchrun."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace


def main(checkpoint: str, folder: str) -> None:
    """Saves the checkpoint's planner from its halves into the folder."""
    import torch.distributed as dist
    from accelerate import Accelerator, DistributedType
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from training.checkpoint import load_model_and_processor
    from training.tiny import save_checkpoint

    dist.init_process_group("gloo")
    model, processor = load_model_and_processor(checkpoint, dtype="float32", device="cpu")
    fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    # accelerate itself shards on GPUs only; what it does to gather is the same.
    sharding = SimpleNamespace(distributed_type=DistributedType.FSDP, is_fsdp2=True)
    weights = Accelerator.get_state_dict(sharding, model)
    if dist.get_rank() == 0:
        save_checkpoint(Path(folder), model, processor, weights=weights)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
