"""References for the answer to one site: long Markov chains that share no code with the library.

Likelihoods are summed here from factorials; the chains update all effects at once by elliptical
slice sampling (Murray, Adams & MacKay 2010), then tau, the structure and the tails by Metropolis
steps that leave the standardised effects as they are. Thousands of chains run side by side; the
Monte Carlo errors come from how much groups of them differ. Run it as
``python benchmarks/_site_mcmc.py FILE [--rounds N]``; it takes some minutes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import gammaln

POINTS = np.arange(-30.0, 30.0, 0.01)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
POWERS = (1, 4, 16)
GROUPS = 16

# Events and totals of both arms.
ZERO_EVENTS = [
    (0, 24, 2, 25),
    (0, 40, 0, 41),  # says nothing, and is left out
    (0, 31, 3, 30),
    (3, 90, 9, 88),
    (0, 18, 1, 20),
    (12, 210, 21, 205),
    (2, 60, 3, 61),
    (0, 52, 4, 50),
    (0, 11, 2, 12),
    (7, 150, 10, 149),
]
CONFLICT = [
    (30, 200, 60, 200),
    (14, 100, 26, 100),
    (20, 120, 19, 119),
    (41, 180, 12, 182),  # the outlier
    (5, 60, 12, 61),
    (1, 12, 3, 11),
    (9, 70, 16, 71),
]


def log_likelihood(table: tuple[int, int, int, int]) -> Any:
    """Fisher's noncentral hypergeometric distribution, as a function of the log odds ratio."""
    a, n1, c, n2 = table
    total = a + c
    x = np.arange(max(0, total - n2), min(n1, total) + 1)
    logs = -gammaln(x + 1) - gammaln(n1 - x + 1) - gammaln(total - x + 1)
    logs -= gammaln(n2 - total + x + 1)
    terms = logs[:, np.newaxis] + x[:, np.newaxis] * POINTS
    top = terms.max(axis=0)
    own = logs[int(a - x[0])] + a * POINTS
    return own - top - np.log(np.exp(terms - top).sum(axis=0))


class Chains:
    """Many chains side by side."""

    def __init__(
        self, tables: list[Any], kernel: Any, settings: dict[str, float], seed: int
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.logs = np.array([log_likelihood(table) for table in tables])
        self.k, self.set = len(tables), settings
        roots = []
        for power in POWERS:
            values, vectors = np.linalg.eigh(kernel**power)
            roots.append(vectors * np.sqrt(np.maximum(values, 0.0)))
        self.roots = np.array(roots)
        count = int(settings["chains"])
        self.free = self.rng.normal(size=(count, 1 + 2 * self.k))
        self.tau = np.abs(self.rng.normal(size=count)) * settings["tau_scale"] + 1e-3
        self.share = self.rng.integers(0, len(SHARES), count)
        self.power = self.rng.integers(0, len(POWERS), count)
        self.far = self.rng.random((count, self.k)) < settings["tail_share"]
        self.level = self.site_logs(self.now()).sum(axis=1)

    def effects(self, free: Any, tau: Any, share: Any, power: Any, far: Any) -> Any:
        part = np.array(SHARES)[share]
        shared = np.empty((len(free), self.k))
        for number in range(len(POWERS)):
            which = power == number
            shared[which] = free[which, 1 : 1 + self.k] @ self.roots[number].T
        own = np.sqrt(((1.0 - part) * tau**2)[:, None] + far * self.set["tail_scale"] ** 2)
        mean = self.set["mean_scale"] * free[:, :1]
        return mean + (tau * np.sqrt(part))[:, None] * shared + own * free[:, 1 + self.k :]

    def site_logs(self, theta: Any) -> Any:
        at = np.clip((theta - POINTS[0]) / 0.01, 0.0, len(POINTS) - 2.001)
        cell = at.astype(np.intp)
        rows = np.arange(self.k)
        left = self.logs[rows, cell]
        return left + (at - cell) * (self.logs[rows, cell + 1] - left)

    def now(self, **changed: Any) -> Any:
        names = ("free", "tau", "share", "power", "far")
        return self.effects(*(changed.get(name, getattr(self, name)) for name in names))

    def round(self) -> Any:
        rng, count = self.rng, len(self.free)
        for _ in range(2):
            least = self.level + np.log(rng.random(count))
            other = rng.normal(size=self.free.shape)
            angle = rng.random(count) * 2.0 * np.pi
            low, high = angle - 2.0 * np.pi, angle.copy()
            active, new = np.arange(count), self.free.copy()
            while active.size:
                now = angle[active]
                tried = self.free[active] * np.cos(now)[:, None]
                tried += other[active] * np.sin(now)[:, None]
                rest = (x[active] for x in (self.tau, self.share, self.power, self.far))
                logs = self.site_logs(self.effects(tried, *rest)).sum(axis=1)
                fits = logs > least[active]
                new[active[fits]], self.level[active[fits]] = tried[fits], logs[fits]
                active, now = active[~fits], now[~fits]
                low[active] = np.where(now < 0, now, low[active])
                high[active] = np.where(now >= 0, now, high[active])
                width = high[active] - low[active]
                angle[active] = low[active] + rng.random(active.size) * width
            self.free = new
            # tau on its logarithm; the half-normal prior and the Jacobian.
            tried = self.tau * np.exp(rng.normal(size=count) * rng.choice((0.3, 1.0), count))
            self.metropolis("tau", tried, self._tau_prior(tried) - self._tau_prior(self.tau))
            self.metropolis("power", rng.integers(0, len(POWERS), count), 0.0)
            self.metropolis("share", rng.integers(0, len(SHARES), count), 0.0)
        if self.set["tail_share"]:
            odds = np.log(self.set["tail_share"] / (1.0 - self.set["tail_share"]))
            flipped = ~self.far
            change = self.site_logs(self.now(far=flipped)) - self.site_logs(self.now())
            change += np.where(flipped, odds, -odds)
            self.far ^= np.log(rng.random(change.shape)) < change
        theta = self.now()
        self.level = self.site_logs(theta).sum(axis=1)
        return theta

    def _tau_prior(self, tau: Any) -> Any:
        return np.log(tau) - 0.5 * (tau / self.set["tau_scale"]) ** 2

    def metropolis(self, name: str, tried: Any, prior: Any) -> None:
        new = self.site_logs(self.now(**{name: tried})).sum(axis=1)
        yes = np.log(self.rng.random(len(new))) < new - self.level + prior
        self.level = np.where(yes, new, self.level)
        setattr(self, name, np.where(yes, tried, getattr(self, name)))


def summaries(draws: Any) -> Any:
    """Mean, SD, and quantiles of each site's effect, from draws of shape (n, k)."""
    quantiles = np.quantile(draws, (0.025, 0.5, 0.975), axis=0)
    return np.stack((draws.mean(axis=0), draws.std(axis=0), *quantiles), axis=1)


def reference(
    name: str, tables: list[Any], settings: dict[str, float], rounds: int, seed: int
) -> dict[str, Any]:
    """Posterior summaries of each site's effect, with their Monte Carlo errors."""
    informative = [t for t in tables if 0 < t[0] + t[2] < t[1] + t[3]]
    k = len(informative)
    kernel = np.exp(-np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / 5.0)
    chains = Chains(informative, kernel, settings, seed)
    kept = []
    for number in range(rounds):
        theta = chains.round()
        if number >= rounds // 5 and number % 4 == 0:
            kept.append(theta.astype(np.float32))
    draws = np.array(kept)
    groups = np.array_split(np.arange(draws.shape[1]), GROUPS)
    each = np.array([summaries(draws[:, some].reshape(-1, k)) for some in groups])
    errors = each.std(axis=0, ddof=1) / np.sqrt(GROUPS)
    found = summaries(draws.reshape(-1, k))
    return {
        "name": name,
        "tables": [list(table) for table in informative],
        **settings,
        "kernel": "exp(-|i - j| / 5), to the power 1, 4 or 16",
        "columns": ["mean", "sd", "q025", "median", "q975"],
        "rows": np.round(found, 4).tolist(),
        "worst_error": np.round(errors.max(axis=0), 4).tolist(),
    }


def main() -> None:
    """Write the references to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=4000)
    parser.add_argument("--chains", type=int, default=2000)
    asked = parser.parse_args()
    common = {"chains": asked.chains, "tau_scale": 0.5, "mean_scale": 2.5, "tail_scale": 1.0}
    found = [
        reference(name, tables, {**common, "tail_share": share}, asked.rounds, seed)
        for seed, (name, tables, share) in enumerate(
            (("four sites without events", ZERO_EVENTS, 0.05), ("an outlier", CONFLICT, 0.05))
        )
    ]
    asked.file.write_text(json.dumps(found, indent=1) + "\n")
    for one in found:
        print(one["name"], one["worst_error"])


if __name__ == "__main__":
    main()
