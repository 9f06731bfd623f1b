"""The named protocols of offline evaluation: pure scoring, one module and data sheet each."""

from __future__ import annotations

from executors.errors import InputError
from training.benchmarks.protocols.agentnetbench import AGENTNETBENCH, AGENTNETBENCH_STRICT
from training.benchmarks.protocols.base import Outcome, Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.grounded import GROUNDED
from training.benchmarks.protocols.guir1 import GUIR1, GUIR1_STRICT
from training.benchmarks.protocols.mind2web import M2W_SEECLICK, M2W_UGROUND, M2W_UGROUND_STRICT
from training.benchmarks.protocols.odyssey_ams import ODYSSEY_AMS, ODYSSEY_AMS_STRICT
from training.benchmarks.protocols.osatlas import OSATLAS, OSATLAS_STRICT
from training.benchmarks.protocols.qwen_bbox import QWEN_BBOX, QWEN_BBOX_STRICT
from training.benchmarks.protocols.uground500 import UGROUND500

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        OSATLAS, OSATLAS_STRICT, ODYSSEY_AMS, ODYSSEY_AMS_STRICT, QWEN_BBOX, QWEN_BBOX_STRICT, GUIR1, GUIR1_STRICT,
        UGROUND500, M2W_UGROUND, M2W_UGROUND_STRICT, M2W_SEECLICK, AGENTNETBENCH, AGENTNETBENCH_STRICT, GROUNDED,
    )
}  # fmt: skip


def get_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"protocol {name!r} is unknown: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


__all__ = ["PROTOCOLS", "Outcome", "Prediction", "Protocol", "ReferenceStep", "StepScore", "get_protocol"]
