"""Every method of the comparison, tuned on three folds inside the training part.

A method gives each site the coefficients that it would use, intercept first. Settings are chosen by
the mean log-loss over all people of the folds left out; every tuned method has twelve to choose
from. Packets need none: their ridge is where the marginal likelihood is largest (`ridge_of`).
Quadratic likelihoods are the library's, as they come out of packets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from _case_data import FOLDS, Floats, Scenario, Split
from _fedavg import after, average, expected
from numpy.typing import NDArray

import qis
from qis.models import ridge_of
from qis.outcomes import Anchor, QuadraticLikelihood
from qis.synthesis import combine_quadratics, next_anchor

QUESTION: Final = "x | case"
RIDGES: Final = 0.1 * 2.0 ** np.arange(12)
"""Precisions of a normal prior on each slope: the twelve settings of the rows' own ridges."""
FED_RIDGES: Final = np.array([0.0, 0.005, 0.03, 0.15], np.float32)
"""The same per person, as federated averaging has it."""
ROUNDS: Final = {1: (10, 30, 100), 10: (3, 10, 30), 100: (1, 2, 5)}
"""Steps at a site, by the number of rounds: with four ridges, twelve settings each."""
_TINY: Final = 1e-6


@dataclass(frozen=True)
class Batch:
    """Splits side by side, sites padded to one length.

    Parameters
    ----------
    x, y
        Shape (splits, sites, people, p) and (splits, sites, people).
    fold
        The fold of each person, or -1 for padding, shape (splits, sites, people).

    """

    x: Floats
    y: Floats
    fold: NDArray[np.intp]

    @classmethod
    def of(cls, scenario: Scenario, splits: Sequence[Split]) -> "Batch":
        """The people that these splits train on."""
        sites = scenario.sites
        longest = max(len(rows) for split in splits for rows in split.train)
        shape = (len(splits), len(sites), longest)
        x = np.zeros((*shape, sites[0].x.shape[1]))
        y, fold = np.zeros(shape), np.full(shape, -1, np.intp)
        for number, split in enumerate(splits):
            for index, (site, rows) in enumerate(zip(sites, split.train, strict=True)):
                x[number, index, : len(rows)] = site.x[rows]
                y[number, index, : len(rows)] = site.y[rows]
                fold[number, index, : len(rows)] = split.fold[index]
        return cls(x, y, fold)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Whom each fit trains on: all but one fold, and last all; (splits, sites, people, 4)."""
        is_there = self.fold[..., np.newaxis] >= 0
        return is_there & (self.fold[..., np.newaxis] != np.arange(FOLDS + 1))

    @cached_property
    def left_out(self) -> NDArray[np.bool_]:
        """Whom each but the last fit is judged on; (splits, sites, people, 3)."""
        return self.fold[..., np.newaxis] == np.arange(FOLDS)

    def loss(self, fits: Floats) -> Floats:
        """Log-loss of the people left out, summed, per setting.

        Parameters
        ----------
        fits
            Shape (splits, sites, p, 4, settings).

        Returns
        -------
        numpy.ndarray
            Shape (splits, sites, settings).

        """
        *_, p, _, settings = fits.shape
        judged = fits[..., :FOLDS, :].reshape(*fits.shape[:2], p, FOLDS * settings)
        eta = (self.x @ judged).reshape(*self.y.shape, FOLDS, settings)
        signed = np.where(self.y[..., np.newaxis, np.newaxis] == 1.0, -eta, eta)
        return np.einsum("shnfl,shnf->shl", np.logaddexp(0.0, signed), self.left_out)

    def best(self, fits: Floats) -> Floats:
        """The final fit with the best setting for all sites together, (splits, sites, p)."""
        chosen = self.loss(fits).sum(axis=1).argmin(axis=-1)
        return np.take_along_axis(
            fits[..., FOLDS, :], chosen[:, np.newaxis, np.newaxis, np.newaxis], axis=-1
        )[..., 0]

    def best_of_each(self, fits: Floats) -> Floats:
        """The final fit with the best setting of each site, (splits, sites, p)."""
        chosen = self.loss(fits).argmin(axis=-1)
        return np.take_along_axis(
            fits[..., FOLDS, :], chosen[..., np.newaxis, np.newaxis], axis=-1
        )[..., 0]


def refitted(batch: Batch, fits: Floats) -> Floats:
    """The same slopes with each site's own intercept, by Firth's penalised likelihood.

    The penalty keeps it finite where all labels of a site are alike.
    """
    *_, p, folds, settings = fits.shape
    slopes = fits[..., 1:, :, :].reshape(*fits.shape[:2], p - 1, folds * settings)
    eta = (batch.x[..., 1:] @ slopes).reshape(*batch.y.shape, folds, settings)
    mask = batch.mask[..., np.newaxis].astype(float)
    cases = batch.y[..., np.newaxis, np.newaxis]
    own = np.array(fits[..., 0, :, :])
    for _ in range(15):
        chance = expected(eta + own[:, :, np.newaxis])
        spread = mask * chance * (1.0 - chance)
        information = spread.sum(axis=2)
        penalty = (spread * (0.5 - chance)).sum(axis=2) / information
        own += np.clip(((mask * (cases - chance)).sum(axis=2) + penalty) / information, -2, 2)
    return np.concatenate((own[:, :, np.newaxis], fits[..., 1:, :, :]), axis=2)


def ridge_fits(
    x: Floats,
    y: Floats,
    mask: Floats,
    first: float,
    *,
    times: Floats | float = 1.0,
    pull: Floats | float = 0.0,
) -> Floats:
    """Ridge logistic regressions by Newton's method, shape (..., p, folds, settings).

    Parameters
    ----------
    x, y, mask
        Shape (..., people, p), (..., people) and (..., people, folds).
    first
        The intercept's own precision: small, so that it stays finite where all labels are alike.
    times, pull
        The log-likelihood counts so many times, (..., 48, 1), and its slope has this added to it,
        (..., 48, p).

    """
    p, folds = x.shape[-1], mask.shape[-1]
    weights = times * np.repeat(np.moveaxis(mask, -1, -2), len(RIDGES), axis=-2)
    ridge = np.tile(RIDGES, folds)[:, np.newaxis, np.newaxis] * np.eye(p)
    ridge[:, 0, 0] = first
    b = np.zeros((*x.shape[:-2], folds * len(RIDGES), p))
    wide = x[..., np.newaxis, :, :]
    for _ in range(9):
        chance = expected(b @ np.swapaxes(x, -1, -2))
        score = (weights * (y[..., np.newaxis, :] - chance)) @ x + pull
        score -= (ridge @ b[..., np.newaxis])[..., 0]
        spread = weights * chance * (1.0 - chance)
        information = np.swapaxes(wide * spread[..., np.newaxis], -1, -2) @ wide + ridge
        b = b + np.clip(np.linalg.solve(information, score[..., np.newaxis])[..., 0], -3.0, 3.0)
    return np.moveaxis(b.reshape(*x.shape[:-2], folds, len(RIDGES), p), -1, -3)


def local(batch: Batch) -> Floats:
    """Each site alone."""
    return batch.best_of_each(ridge_fits(batch.x, batch.y, batch.mask.astype(float), 0.05))


def pooled(batch: Batch) -> Floats:
    """Everybody's rows in one place."""
    splits, sites, people, p = batch.x.shape
    rows = splits, sites * people
    fits = ridge_fits(
        batch.x.reshape(*rows, p),
        batch.y.reshape(rows),
        batch.mask.reshape(*rows, FOLDS + 1).astype(float),
        0.05,
    )
    return batch.best(np.repeat(fits[:, np.newaxis], sites, axis=1))


def fedavg(
    batch: Batch,
    *,
    rounds: Mapping[int, Sequence[int]] = ROUNDS,
    proximal: float = 0.0,
    bits: int = 0,
) -> dict[int, Floats]:
    """All settings of federated averaging by number of rounds, (splits, sites, p, 4, 12)."""
    p, sites = batch.x.shape[-1], batch.x.shape[1]
    x, y = batch.x.astype(np.float32), batch.y.astype(np.float32)
    mask = np.repeat(batch.mask.astype(np.float32), len(FED_RIDGES), axis=-1)
    ridge = np.tile(FED_RIDGES, FOLDS + 1)
    found: dict[int, list[Floats]] = {count: [] for count in rounds}
    for steps in sorted({steps for each in rounds.values() for steps in each}):
        wanted = [count for count, each in rounds.items() if steps in each]
        runs = average(
            x,
            y,
            mask,
            ridge=ridge,
            steps=steps,
            rounds=max(wanted),
            proximal=proximal,
            bits=bits,
        )
        for count, common in after(runs, wanted).items():
            if not np.isfinite(common).all():
                raise ArithmeticError(f"federated averaging diverged with {steps} steps")
            shaped = common.reshape(len(x), 1, p, FOLDS + 1, len(FED_RIDGES)).astype(float)
            found[count].append(np.repeat(shaped, sites, axis=1))
    return {count: np.concatenate(fits, axis=-1) for count, fits in found.items()}


def outcomes(batch: Batch, *, own: bool) -> Iterator[list[QuadraticLikelihood]]:
    """What the sites say about zero, by split, as it comes out of their packets."""
    start = 1 if own else 0
    anchor = np.zeros(batch.x.shape[-1] - start)
    for split in range(len(batch.x)):
        made = []
        for site in range(batch.x.shape[1]):
            rows = batch.mask[split, site, :, FOLDS]
            outcome = QuadraticLikelihood.from_logistic(
                question=QUESTION,
                features=batch.x[split, site][rows, start:],
                labels=batch.y[split, site][rows],
                anchor=anchor,
                own_intercept=own,
            )
            made.append(carried(site, outcome))
        yield made


def carried(site: int, outcome: QuadraticLikelihood) -> QuadraticLikelihood:
    """The outcome as it comes out of its 512 bytes at the other end."""
    packet = qis.Packet.sign(
        qis.Identity.from_seed(bytes([site + 1]) * 32),
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=1_800_000_000,
        lifetime_s=60,
    )
    received = qis.Packet.parse(bytes(packet)).outcome
    if not isinstance(received, QuadraticLikelihood):
        raise TypeError(f"a {type(received).__name__} came out of the packet")
    return received


def packet_of_docs(batch: Batch) -> Floats:
    """One packet a site with a common intercept, untuned: Fisher's discriminant."""
    p = batch.x.shape[-1]
    anchor = Anchor(question=QUESTION, model="logistic", coefficients=(0.0,) * p)
    fits = np.empty((len(batch.x), batch.x.shape[1], p))
    for split, made in enumerate(outcomes(batch, own=False)):
        combined = combine_quadratics(made, anchors=[anchor], ridge=_TINY)
        fits[split] = next_anchor(combined, intercept=0, question=QUESTION).coefficients
    return fits


def packet_fits(batch: Batch, *, own: bool) -> tuple[Floats, Floats]:
    """One packet a site and a ridge by marginal likelihood; intercepts are refitted at home.

    Coefficients of shape (splits, sites, p), and the covariance of the slopes.
    """
    splits, sites, _, p = batch.x.shape
    start = 1 if own else 0
    anchor = Anchor(question=QUESTION, model="logistic", coefficients=(0.0,) * (p - start))
    fits = np.zeros((splits, sites, p, FOLDS + 1, 1))
    covariance = np.empty((splits, p - 1, p - 1))
    for split, made in enumerate(outcomes(batch, own=own)):
        combined = combine_quadratics(made, anchors=[anchor], ridge=_TINY)
        ridge = ridge_of(combined.information, combined.natural, intercept=None if own else 0)
        fits[split, :, 1:] = ridge.coefficients[1 - start :, np.newaxis, np.newaxis]
        covariance[split] = ridge.covariance[1 - start :, 1 - start :]
    return refitted(batch, fits)[..., FOLDS, 0], covariance


def packets(batch: Batch) -> tuple[dict[str, Floats], Floats]:
    """One packet a site with a common intercept, and one with the site's own left out.

    Also the covariance of the slopes of the first, shape (splits, p - 1, p - 1).
    """
    common, covariance = packet_fits(batch, own=False)
    return {"packet own": packet_fits(batch, own=True)[0], "packet": common}, covariance


def fitted(batch: Batch, said: Callable[[str], None]) -> tuple[dict[str, Floats], Floats]:
    """Every method's coefficients by site, and the covariance of the packets' slopes."""
    found = {"local": local(batch), "pooled": pooled(batch)}
    said("local and pooled")
    settings = fedavg(batch)
    for rounds, fits in settings.items():
        found[f"fedavg {rounds}"] = batch.best(fits)
    everything = np.concatenate(list(settings.values()), axis=-1)
    found["fedavg"] = batch.best(everything)
    found["fedavg refit"] = batch.best(refitted(batch, everything))
    said("federated averaging")
    found["packet docs"] = packet_of_docs(batch)
    ours, covariance = packets(batch)
    found |= ours
    said("packets")
    return found, covariance
