"""Proportions and rates of one arm, against the values of metafor's ``rma.glmm``.

The reference values and the script that makes them are in tests/data/one_arm (one_arm.R).
"""

import json
from pathlib import Path

import qis
from qis.synthesis import pool_profiles

_REFERENCE = Path(__file__).parents[1] / "tests" / "data" / "one_arm" / "one_arm.json"
_LEAST_EVENTS = 10
"""Standard errors are compared where there are as many events, and people without, or more: ours is
half the width of a drop by 1/2, metafor's is from the curvature at the estimate."""


def one_arm_vs_glmm() -> dict[str, float]:
    """Largest differences of estimates, and of standard errors, over all reference sets."""
    estimates, errors, rare = [0.0], [0.0], [0.0]
    for data in json.loads(_REFERENCE.read_text(encoding="utf-8")):
        for measure in ("plo", "irln"):
            if measure not in data:
                continue
            times = data["person_time"] if measure == "irln" else [None] * len(data["total"])
            outcomes = [
                qis.Counts(question="one arm", events=events, total=total, person_time=time)
                for events, total, time in zip(data["events"], data["total"], times, strict=True)
            ]
            pooled = pool_profiles(outcomes, model="fixed")
            if pooled.estimate is None or pooled.standard_error is None:
                raise SystemExit(f"no estimate for {data['citation']}")
            estimates.append(abs(pooled.estimate - data[measure]["estimate"]))
            events, people = sum(data["events"]), sum(data["total"])
            scarce = events if measure == "irln" else min(events, people - events)
            where = errors if scarce >= _LEAST_EVENTS else rare
            where.append(abs(pooled.standard_error - data[measure]["standard_error"]))
    return {
        "one_arm_vs_glmm": max(*estimates, *errors),
        "one_arm_estimate_vs_glmm": max(estimates),
        "one_arm_se_vs_glmm": max(errors),
        "one_arm_se_vs_glmm_few_events": max(rare),
    }
