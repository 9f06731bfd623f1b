"""The simulator's speed, in processor time so that other work on the machine does not count."""

from __future__ import annotations

import time

from executors.simulator import record_episode, sample_tasks


def test_rendered_episodes_run_at_200_steps_per_second_of_one_core():
    tasks = sample_tasks("train", 60, 1)
    for task in tasks[:10]:
        record_episode(task)  # fills the caches
    start = time.process_time()
    num_steps = sum(len(record_episode(task).steps) for task in tasks)
    assert num_steps / (time.process_time() - start) >= 200
