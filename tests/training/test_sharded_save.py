"""A planner whose weights are split over processes is saved whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.grpo_helpers import tiny_checkpoint
from training.checkpoint import load_model_and_processor


@pytest.mark.slow
def test_a_planner_split_over_two_processes_is_saved_whole(tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    subprocess.run(
        [*launch, "-m", "tests.training.sharded_save", str(tiny_checkpoint()), str(tmp_path / "whole")],
        cwd=Path(__file__).resolve().parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    whole, _ = load_model_and_processor(tmp_path / "whole", dtype="float32", device="cpu")
    start, _ = load_model_and_processor(tiny_checkpoint(), dtype="float32", device="cpu")
    saved = whole.state_dict()
    assert saved.keys() == start.state_dict().keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in start.state_dict().items())
