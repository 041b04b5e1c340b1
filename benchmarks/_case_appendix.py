"""Appendix: FedProx, ODAL, compressed updates, and sites that differ in their share of cases.

FedProx (Li et al. 2020) pulls local steps towards the common coefficients. ODAL (Duan et al. 2020)
is one round: the largest site fits its own rows, all send their gradients there, and it fits again
with its own likelihood in place of the others' and their gradients right. Updates are rounded to so
many bits a number. Ten rounds with twelve settings each, and the tuning is that of the table.
"""

from typing import Any

import numpy as np
from _case_asked import Asked
from _case_data import Floats, Scenario, Site, actg, actg_scenarios
from _case_models import FOLDS, RIDGES, ROUNDS, Batch, fedavg, packet_of_docs, packets, ridge_fits
from _case_table import figures_of

TEN = {10: ROUNDS[10]}
BITS = (8, 4, 1)
PROXIMAL = (0.1, 1.0)


def part(asked: Asked) -> dict[str, Any]:
    """Both scenarios."""
    splits = asked.of(3, 8, 200)
    skewed = Scenario("actg", "skewed labels", skewed_sites(actg()))
    rows = {}
    for scenario in (actg_scenarios()[-1], skewed):
        batch_splits = [scenario.split(number) for number in range(splits)]
        batch = Batch.of(scenario, batch_splits)
        found = {"fedavg 10": batch.best(fedavg(batch, rounds=TEN)[10])}
        for mu in PROXIMAL:
            found[f"fedprox {mu}"] = batch.best(fedavg(batch, rounds=TEN, proximal=mu)[10])
        for bits in BITS:
            found[f"{bits} bits"] = batch.best(fedavg(batch, rounds=TEN, bits=bits)[10])
        found["odal"] = odal(batch)
        found |= {"packet docs": packet_of_docs(batch), **packets(batch)[0]}
        rows[scenario.name] = {
            name: figures_of(scenario, batch_splits, fits) for name, fits in found.items()
        }
        asked.said(f"appendix, {scenario.name}")
    return {"splits": splits, "scenarios": rows}


def skewed_sites(everybody: Site) -> list[Site]:
    """Four sites whose shares of cases are far apart."""
    rng = np.random.default_rng(176)
    order = np.argsort(everybody.y + rng.normal(0.0, 0.8, len(everybody.y)), kind="stable")
    ordered = Site(everybody.x[order], everybody.y[order])
    ends = np.cumsum((600, 550, 550))
    parts = np.split(np.arange(len(ordered.y)), ends)
    return [Site(ordered.x[part], ordered.y[part]) for part in parts]


def odal(batch: Batch) -> Floats:
    """The surrogate likelihood at the largest site, with a tuned ridge, (splits, sites, p)."""
    people = (batch.fold >= 0).sum(axis=(0, 2))
    lead = int(people.argmax())
    x, y, mask = batch.x[:, lead], batch.y[:, lead], batch.mask[:, lead].astype(float)
    settings = FOLDS + 1, len(RIDGES)
    start = ridge_fits(x, y, mask, 0.05)[..., 5]  # (splits, p, folds)
    slopes = _slopes(batch, start)  # (splits, sites, p, folds), sums over people
    counts = batch.mask.sum(axis=2).astype(float)  # (splits, sites, folds)
    times = counts.sum(axis=1) / counts[:, lead]  # (splits, folds)
    pull = slopes.sum(axis=1) - times[:, np.newaxis] * slopes[:, lead]
    fits = ridge_fits(
        x,
        y,
        mask,
        0.05,
        times=np.repeat(times, settings[1], axis=1)[..., np.newaxis],
        pull=np.repeat(np.swapaxes(pull, 1, 2), settings[1], axis=1),
    )
    return batch.best(np.repeat(fits[:, np.newaxis], batch.x.shape[1], axis=1))


def _slopes(batch: Batch, at: Floats) -> Floats:
    """First derivatives of every site's log-likelihood, (splits, sites, p, folds)."""
    eta = batch.x @ at[:, np.newaxis]
    residual = batch.y[..., np.newaxis] - 1.0 / (1.0 + np.exp(-eta))
    slopes: Floats = np.swapaxes(batch.x, -1, -2) @ (batch.mask * residual)
    return slopes
