"""References for the answer to one site: long Markov chains that share no code with the library.

Likelihoods are summed here from factorials. Each round does two things. First the effects are
updated by elliptical slice sampling (Murray, Adams & MacKay 2010), all at once and each site's own
deviation for itself, then tau and the structure by Metropolis steps that leave the standardised
effects as they are. Then, with the effects as they are, tau and the structure by Metropolis steps
in which the shared part is integrated out, the shared part from its normal distribution, and who is
in the tail from its two probabilities. The first mixes where data are few, the second where they
are many: two precise sites in conflict are passed by the second only. Thousands of chains run side
by side; the Monte Carlo errors come from how much groups of them differ. Run it as
``python benchmarks/_site_mcmc.py FILE [--rounds N]``; it takes some ten minutes.
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
LEAST_TAU = 1e-5  # below, no step is made with the effects as they are: matrices would be singular

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
TWO_MODES = [
    (1, 12, 2, 11),
    (150, 1000, 262, 1000),
    (240, 900, 254, 900),
    (3, 25, 4, 26),
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
        self.slice_all()
        self.slice_each()
        # tau on its logarithm; the half-normal prior and the Jacobian.
        tried = self.walked()
        self.metropolis("tau", tried, self._tau_prior(tried) - self._tau_prior(self.tau))
        count = len(self.free)
        self.metropolis("power", self.rng.integers(0, len(POWERS), count), 0.0)
        self.metropolis("share", self.rng.integers(0, len(SHARES), count), 0.0)
        if self.set["tail_share"]:
            change = self.site_logs(self.now(far=~self.far)) - self.site_logs(self.now())
            self.far ^= np.log(self.rng.random(change.shape)) < change + self._odds(self.far)
        self.with_effects_given()
        theta = self.now()
        self.level = self.site_logs(theta).sum(axis=1)
        return theta

    def walked(self) -> Any:
        count = len(self.free)
        step = self.rng.choice((0.3, 1.0), count)
        return self.tau * np.exp(self.rng.normal(size=count) * step)

    def slice_all(self) -> None:
        rng, count = self.rng, len(self.free)
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

    def slice_each(self) -> None:
        """Given the shared part the sites are independent: each moves for itself."""
        rng = self.rng
        own = self.own_sds()
        left = self.now()
        noise = self.free[:, 1 + self.k :]
        shared = left - own * noise
        least = self.site_logs(left) + np.log(rng.random(left.shape))
        other = rng.normal(size=left.shape)
        angle = rng.random(left.shape) * 2.0 * np.pi
        low, high = angle - 2.0 * np.pi, angle.copy()
        new, waiting = noise.copy(), np.ones(left.shape, dtype=bool)
        while waiting.any():
            tried = noise * np.cos(angle) + other * np.sin(angle)
            fits = waiting & (self.site_logs(shared + own * tried) > least)
            new[fits] = tried[fits]
            waiting &= ~fits
            low = np.where(waiting & (angle < 0), angle, low)
            high = np.where(waiting & (angle >= 0), angle, high)
            angle = np.where(waiting, low + rng.random(left.shape) * (high - low), angle)
        self.free[:, 1 + self.k :] = new
        self.level = self.site_logs(self.now()).sum(axis=1)

    def own_sds(self) -> Any:
        part = np.array(SHARES)[self.share]
        own = ((1.0 - part) * self.tau**2)[:, None] + self.far * self.set["tail_scale"] ** 2
        return np.sqrt(own)

    def with_effects_given(self) -> None:
        """Everything else, the effects being as they are; where all sites' own parts are free."""
        rng = self.rng
        theta = self.now()
        some = np.flatnonzero((np.array(SHARES)[self.share] < 1.0) & (self.tau > LEAST_TAU))
        level = self.marginal(theta[some], some)
        for name in ("tau", "share", "power"):
            former = getattr(self, name)[some]
            if name == "tau":
                tried = self.walked()[some]
                prior = self._tau_prior(tried) - self._tau_prior(former)
                prior = np.where(tried > LEAST_TAU, prior, -np.inf)
                tried = np.maximum(tried, LEAST_TAU)
            else:
                count = len(SHARES) - 1 if name == "share" else len(POWERS)
                tried, prior = rng.integers(0, count, some.size), 0.0
            getattr(self, name)[some] = tried
            new = self.marginal(theta[some], some)
            yes = np.log(rng.random(some.size)) < new - level + prior
            level = np.where(yes, new, level)
            getattr(self, name)[some] = np.where(yes, tried, former)
        # The standardised shared part: its conditional distribution is normal.
        own = self.own_sds()[some]
        columns = self.columns(some)
        scaled = columns / own[:, :, None]
        precision = np.eye(1 + self.k) + np.swapaxes(scaled, 1, 2) @ scaled
        pull = np.swapaxes(scaled, 1, 2) @ (theta[some] / own)[:, :, None]
        root = np.linalg.cholesky(precision)
        noise = rng.normal(size=pull.shape)
        drawn = np.linalg.solve(precision, pull) + np.linalg.solve(np.swapaxes(root, 1, 2), noise)
        apart = theta[some] - (columns @ drawn)[:, :, 0]
        if self.set["tail_share"]:
            usual = own**2 - self.far[some] * self.set["tail_scale"] ** 2
            wide = usual + self.set["tail_scale"] ** 2
            odds = 0.5 * np.log(usual / wide) + 0.5 * apart**2 * (1.0 / usual - 1.0 / wide)
            odds += self._odds(np.zeros_like(apart, dtype=bool))
            self.far[some] = rng.random(apart.shape) < 1.0 / (
                1.0 + np.exp(-np.minimum(odds, 500.0))
            )
            own = self.own_sds()[some]
        self.free[some, : 1 + self.k] = drawn[:, :, 0]
        self.free[some, 1 + self.k :] = apart / own

    def columns(self, some: Any) -> Any:
        """From the standardised shared part to the sites' shared parts, shape (n, k, 1 + k)."""
        part = np.array(SHARES)[self.share[some]]
        found = np.full((some.size, self.k, 1 + self.k), self.set["mean_scale"])
        size = self.tau[some] * np.sqrt(part)
        found[:, :, 1:] = size[:, None, None] * self.roots[self.power[some]]
        return found

    def marginal(self, theta: Any, some: Any) -> Any:
        """Log density of effects, the shared part integrated out, up to a constant."""
        columns, own = self.columns(some), self.own_sds()[some]
        covariance = columns @ np.swapaxes(columns, 1, 2)
        covariance[:, np.arange(self.k), np.arange(self.k)] += own**2
        root = np.linalg.cholesky(covariance)
        white = np.linalg.solve(root, theta[:, :, None])[:, :, 0]
        logs = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        return -logs - 0.5 * (white * white).sum(axis=1)

    def _odds(self, far: Any) -> Any:
        """Prior log odds of being on the other side of the tail than now."""
        odds = np.log(self.set["tail_share"] / (1.0 - self.set["tail_share"]))
        return np.where(far, -odds, odds)

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
        if number >= rounds // 5 and number % 2 == 0:
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
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--chains", type=int, default=2000)
    asked = parser.parse_args()
    common = {"chains": asked.chains, "tau_scale": 0.5, "mean_scale": 2.5, "tail_scale": 1.0}
    found = [
        reference(name, tables, {**common, "tail_share": share}, asked.rounds, seed)
        for seed, (name, tables, share) in enumerate(
            (
                ("four sites without events", ZERO_EVENTS, 0.05),
                ("an outlier", CONFLICT, 0.05),
                ("two precise sites in conflict", TWO_MODES, 0.05),
            )
        )
    ]
    asked.file.write_text(json.dumps(found, indent=1) + "\n")
    for one in found:
        print(one["name"], one["worst_error"])


if __name__ == "__main__":
    main()
