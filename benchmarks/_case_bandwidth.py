"""Bytes until an answer is as good as everybody's rows together, by the number of coefficients.

The goal is the unpenalised pooled fit of artificial sites of ACTG 175, with a common intercept:
within .005 of its AUC, and within .01 of its coefficients. Federated averaging sends the float32
coefficients down and up in each round; the number of local steps is the best in hindsight. Packets
are of 512 bytes, the next one about what the last ones gave together. Payload on both sides; what
our transports add is measured on loopback (`overlay_small`).
"""

import asyncio
from itertools import islice
from typing import Any

import numpy as np
from _case_asked import Asked
from _case_data import Floats, Site, actg, dealt
from _case_models import Batch, carried
from _case_table import auc
from _fedavg import average
from heart_disease import pooled_fit

from qis.outcomes import Anchor, QuadraticLikelihood
from qis.synthesis import combine_quadratics, next_anchor

SIZES = (1, 2, 4, 7, 10, 14)
STEPS = (1, 3, 10, 30, 100)
MOST_STEPS = 6_000
WITHIN_AUC, WITHIN_COEFFICIENTS = 0.005, 0.01
MODELS = {"logistic regression": 14, "small network": 10**5, "image classifier": 25 * 10**6}
MODELS |= {"language model": 7 * 10**9}


def part(asked: Asked) -> dict[str, Any]:
    """All of it; transports are measured if this is more than a quick run."""
    sites = dealt(actg(), (850, 620, 420, 240))
    rows = []
    for size in SIZES if asked.effort else (2, 14):
        rows.append(_needed([Site(site.x[:, :size], site.y) for site in sites]))
        asked.said(f"{size} coefficients: {rows[-1]}")
    curves = [
        {"model": name, "parameters": size, "fedavg_bytes": 8 * size, "packet_bytes": 512}
        for name, size in MODELS.items()
    ]
    found: dict[str, Any] = {"goal": rows, "curves": curves}
    if asked.effort:
        import overlay_small  # noqa: PLC0415  needs the extra [bench]

        direct, _, four_kb = asyncio.run(overlay_small.udp_costs())
        broker, _ = asyncio.run(overlay_small.nats_costs())
        found["transports"] = {
            "direct_bytes_per_delivery": direct,
            "nats_bytes_per_delivery": broker,
            "four_sites_bytes_per_site": 1_000.0 * four_kb,
        }
        asked.said(f"on the wire: {found['transports']}")
    return found


def _needed(sites: list[Site]) -> dict[str, float]:
    """Rounds and packets until either goal; NaN is never written: 0 means not within the limit."""
    everybody = [(site.x, site.y) for site in sites]
    goal = pooled_fit(everybody)
    x, y = (np.concatenate(parts) for parts in zip(*everybody, strict=True))
    best = auc(x @ goal, y) if x.shape[1] > 1 else 0.5

    def reached(b: Floats) -> tuple[bool, bool]:
        return (
            abs((auc(x @ b, y) if x.shape[1] > 1 else 0.5) - best) <= WITHIN_AUC,
            float(np.abs(b - goal).max()) <= WITHIN_COEFFICIENTS,
        )

    found: dict[str, float] = {"coefficients": x.shape[1]}
    rounds = {"auc": 0, "coefficients": 0}
    for steps in STEPS:
        first = _first(_averages(sites, steps), reached)
        for name, number in first.items():
            if number and (not rounds[name] or number < rounds[name]):
                rounds[name] = number
    packets = _first(_packets(sites), reached)
    for name, number in rounds.items():
        found[f"rounds_{name}"] = number
        found[f"packets_{name}"] = packets[name]
        found[f"fedavg_bytes_{name}"] = number * 8 * x.shape[1]
        found[f"packet_bytes_{name}"] = packets[name] * 512
    return found


def _first(fits: Any, reached: Any) -> dict[str, int]:
    """The number of the first fit that reaches each goal; 0 if none does."""
    first = {"auc": 0, "coefficients": 0}
    for number, b in enumerate(fits, 1):
        for name, is_there in zip(first, reached(b), strict=True):
            if is_there and not first[name]:
                first[name] = number
        if all(first.values()):
            break
    return first


def _averages(sites: list[Site], steps: int) -> Any:
    longest = max(len(site.y) for site in sites)
    p = sites[0].x.shape[1]
    batch = Batch(
        np.zeros((1, len(sites), longest, p)),
        np.zeros((1, len(sites), longest)),
        np.full((1, len(sites), longest), -1),
    )
    for index, site in enumerate(sites):
        n = len(site.y)
        batch.x[0, index, :n], batch.y[0, index, :n], batch.fold[0, index, :n] = site.x, site.y, 0
    mask = (batch.fold >= 0)[..., np.newaxis].astype(np.float32)
    runs = average(
        batch.x.astype(np.float32), batch.y.astype(np.float32), mask,
        ridge=np.zeros(1, np.float32), steps=steps, rounds=MOST_STEPS // steps,
    )  # fmt: skip
    return (common[0, :, 0].astype(float) for common in runs)


def _packets(sites: list[Site], most: int = 8) -> Any:
    """What the packets of each turn give together; the intercept is common."""

    def turns() -> Any:
        p = sites[0].x.shape[1]
        anchor = Anchor(question="x", model="logistic", coefficients=(0.0,) * p)
        while True:
            made = [_sent(number, site, anchor) for number, site in enumerate(sites)]
            combined = combine_quadratics(made, anchors=[anchor])
            anchor = next_anchor(combined, intercept=0, question="x")
            yield np.array(anchor.coefficients)

    return islice(turns(), most)


def _sent(number: int, site: Site, anchor: Anchor) -> QuadraticLikelihood:
    outcome = QuadraticLikelihood.from_logistic(
        question="x", features=site.x, labels=site.y, anchor=anchor
    )
    return carried(number, outcome)
