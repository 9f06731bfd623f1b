"""Settings that come of another run's: the next stage, the same with another seed. Pure functions on plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from executors.errors import InputError
from training.config import STAGES, Stage1Config, Stage2Config
from training.config_reading import to_dict
from training.presets import PRESETS, get_preset
from workbench.runs.draft import changes

NEXT_STAGE = {"sft": "stage1", "stage1": "stage2"}
_CARRIED = {"stage1": ("data",), "stage2": ("data", "forecast", "grpo", "optim", "lora", "eval_samples")}
"""Groups of settings that a stage takes over from the one before it."""
_SEED = "optim.seed"


def again_values(values: dict[str, Any], others: Iterable[dict[str, Any]], seed: int | None) -> dict[str, Any]:
    """The dotted changes that make the same run with another seed: the given one, or one more than the greatest used.

    Args:
        values: the run's settings.
        others: settings of all runs of its stage; those that differ in nothing but the seed count.
        seed: the seed; None for a new one.

    >>> again_values({"optim": {"seed": 0}}, [{"optim": {"seed": 4}}], None)
    {'optim.seed': 5}
    """
    if seed is None:
        same = [other for other in [values, *others] if set(changes(values, other)) <= {_SEED}]
        seed = 1 + max(int(other["optim"]["seed"]) for other in same)
    return {_SEED: seed}


def chained_values(stage: str, values: dict[str, Any], preset: str) -> tuple[str, dict[str, Any], str]:
    """(the next stage, its settings but for the start checkpoint, the preset they are of or "").

    A preset that has the next stage gives its settings, with the seeds that follow from this run's; without one they
    are the defaults and what a stage takes over from the one before it.

    Raises:
        InputError: nothing comes after this stage.
    """
    following = NEXT_STAGE.get(stage)
    if following is None:
        raise InputError(f"nothing comes after stage {stage}: chain from a run of {' or '.join(NEXT_STAGE)}")
    config = getattr(get_preset(preset, int(values["optim"]["seed"])), following) if preset in PRESETS else None
    if config is not None:
        return following, to_dict(config), preset
    new = to_dict({"stage1": Stage1Config, "stage2": Stage2Config}[following](model="-"))
    names = {field for field in STAGES[following].__dataclass_fields__}
    for name in _CARRIED[following]:
        if name in names and name in values:
            new[name] = values[name]
    return following, new, ""
