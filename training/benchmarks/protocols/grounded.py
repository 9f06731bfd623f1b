"""`grounded`: this project's own rule, Stage 2's reward, as a benchmark on recorded trajectories.

| | |
|---|---|
| set | any trajectory file, and the embedded world's oracle trajectories |
| type | the verb is equal |
| grounding | the needed points of steps that point at something: in the recorded target's box, else within 0.14 |
| step success | `training.rewards.grounded_reward`: verb, points, text, keys, direction, app, tool and arguments |
| source | ours; no published number is by this rule |

An executor's failure is wrong here; in training it earns no reward.
"""

from __future__ import annotations

from executors.actions import ArgKind
from executors.tool_agents import Grounding
from executors.trajectory import Observation, Step
from training.benchmarks.protocols.base import Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.matching import SCREEN_SHARE, is_in_any, is_near
from training.rewards import grounded_reward


def score_step(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """The verdict by the rules at the top of this module."""
    action, wanted = prediction.action, reference.action
    if action is None or action.type != wanted.type:
        return StepScore(is_type_right=False, success=0.0)
    target = reference.target or next(iter(reference.all_boxes), None)
    step = Step(observation=Observation(), action=wanted, instruction="", target=target)
    success = grounded_reward(Grounding(action=action), step, SCREEN_SHARE)
    is_pointed = any(arg.kind is ArgKind.POINT and arg.required for arg in wanted.spec.args)
    if not is_pointed:
        return StepScore(is_type_right=True, success=success)
    point = action.start_point or action.point
    wanted_point = wanted.start_point or wanted.point
    hit = is_in_any(point, [target]) if target is not None else is_near(point, wanted_point)
    return StepScore(is_type_right=True, success=success, grounding=float(hit))


GROUNDED = Protocol(
    name="grounded",
    version=1,
    title="this project's own rule: Stage 2's reward",
    source="ours, training/rewards.py",
    score_step=score_step,
)
