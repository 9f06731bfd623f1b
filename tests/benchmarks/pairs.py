"""Two ways of the same work, timed in turns, and the peak memory of each in a process of its own."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def timed_pairs(stock: Callable[[], Any], ours: Callable[[], Any], num_pairs: int) -> dict[str, Any]:
    """Seconds of both, each pair in the other order than the one before; the ratios are medians over pairs.

    CPU seconds are those of this process: other work on the machine hardly changes them, as it does the wall clock.
    """
    seconds: dict[str, list[tuple[float, float]]] = {"stock": [], "ours": []}
    for pair in range(num_pairs):
        order = [("stock", stock), ("ours", ours)]
        for name, run in order if pair % 2 == 0 else reversed(order):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    result: dict[str, Any] = {"pairs": num_pairs}
    for place, clock in enumerate(("wall", "cpu")):
        for name, times in seconds.items():
            result[f"{name}_{clock}_seconds"] = round(statistics.median(t[place] for t in times), 4)
        ratios = [s[place] / o[place] for s, o in zip(seconds["stock"], seconds["ours"], strict=True)]
        result[f"ratio_{clock}"] = round(statistics.median(ratios), 3)
        result[f"ratios_{clock}"] = [round(ratio, 3) for ratio in ratios]
    return result


def peak_bytes(device: str) -> int:
    """Most memory that this process has held: of the GPU's allocator, or resident on a CPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_in_own_process(script: str, arguments: list[str]) -> dict[str, float]:
    """What `script` prints when it is run with these arguments and --memory-of stock and ours, in MiB."""
    peaks = {}
    for name in ("stock", "ours"):
        out = subprocess.run(
            [sys.executable, script, *arguments, "--memory-of", name], capture_output=True, text=True, cwd=ROOT
        )
        if out.returncode:
            peaks[f"{name}_peak_mib"] = f"failed with {out.returncode}: {out.stderr.strip()[-200:]}"
            continue
        record = json.loads(out.stdout.splitlines()[-1])
        peaks[f"{name}_peak_mib"] = round(record["peak"] / 2**20)
        peaks[f"{name}_peak_above_start_mib"] = round((record["peak"] - record["start"]) / 2**20)
    return peaks


def told(result: dict[str, Any], as_json: bool) -> None:
    """Prints a result as one line of JSON, or as lines to read."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, item in value.items():
                print(f"  {key}: {item}")
        else:
            print(f"{name}: {value}")
