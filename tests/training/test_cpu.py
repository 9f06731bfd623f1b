"""Checkpoints of several processes on CPUs."""

import torch

from training.cpu import read_numbered_cpu


def test_a_tensor_is_read_onto_the_device_that_accelerate_calls_cpu_0(tmp_path):
    path = tmp_path / "optimizer.pt"
    torch.save({"step": torch.arange(3)}, path)
    read_numbered_cpu()
    loaded = torch.load(path, map_location=torch.device("cpu", 0), weights_only=True)
    assert loaded["step"].tolist() == [0, 1, 2]
