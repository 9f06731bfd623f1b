"""A few steps of TRL's trainer and of ours in one process group; rank 0 writes both series. Run by torchrun."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(folder: str, checkpoint: str) -> None:
    """Writes `series.json` into the folder."""
    from accelerate import PartialState

    from tests.training.test_grpo_against_trl import train_series
    from training.run_callback import quiet_libraries

    quiet_libraries()
    state = PartialState(cpu=True)
    settings = {
        "checkpoint": Path(checkpoint),
        "optim": {"num_steps": 2, "batch_size": 4, "accumulation": 2, "learning_rate": 1e-3},
        "grpo": {"group_size": 4, "updates_per_batch": 2, "kl_coef": 0.05},
    }
    own = Path(folder) / str(state.process_index)
    series = {kind: train_series(own, kind, is_stock=kind == "stock", **settings)[0] for kind in ("stock", "ours")}
    if state.is_main_process:
        (Path(folder) / "series.json").write_text(json.dumps({**series, "processes": state.num_processes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
