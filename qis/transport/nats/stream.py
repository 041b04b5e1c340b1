"""What a stream has to be like for packets to be held, and what the operator's one lacks."""

from collections.abc import Mapping
from typing import Any, Final

from qis.transport.nats.names import Names

LEAST_AGE_S: Final = 400 * 86_400
"""Longest life of a packet; a stream that keeps less drops packets that are still in force."""


def faults_of(answer: Mapping[str, Any], names: Names) -> str:
    """Say in words what is wrong with a stream; empty: nothing."""
    config = answer.get("config") or {}
    wrong = []
    if names.everything not in (config.get("subjects") or []):
        wrong.append(f"its subjects are not {names.everything}")
    if config.get("storage") != "file":
        wrong.append("it is in memory, so that a restart of the server loses it (storage: file)")
    if config.get("retention") != "limits":
        wrong.append("it drops what was read (retention: limits)")
    if config.get("sealed"):
        wrong.append("it is sealed and takes nothing")
    limits = [config.get(key, -1) for key in ("max_msgs", "max_bytes")]
    if config.get("discard") != "new" and any(limit > 0 for limit in limits):
        wrong.append("when it is full it drops the oldest packets without a word (discard: new)")
    age_s = config.get("max_age", 0) / 1e9
    if 0.0 < age_s < LEAST_AGE_S:
        wrong.append(
            f"it drops packets after {age_s / 86_400:.1f} days although they may be valid for up "
            f"to {LEAST_AGE_S // 86_400}: sites that are away longer miss them"
        )
    return f"the stream {names.stream}: {'; '.join(wrong)}" if wrong else ""
