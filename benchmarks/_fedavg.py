"""Federated averaging of a logistic regression (McMahan et al. 2017), many runs at once.

In each round every site takes some steps of gradient descent on its own mean loss from the common
coefficients, all its people in one batch, and the server averages the results, weighted by the
sites' numbers of people. FedProx (Li et al. 2020) adds `proximal`, a pull towards the common
coefficients. The last axis holds settings and folds: they are trained side by side.
"""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
RATE = 1.0
"""Step size: features are of unit scale, so the loss bends by less than 2: no step diverges."""


def expected(eta: NDArray[np.floating]) -> NDArray[np.floating]:
    """The logistic function, in place."""
    np.multiply(eta, 0.5, out=eta)
    np.tanh(eta, out=eta)
    eta += 1.0
    eta *= 0.5
    return eta


def train_at_site(
    x: Singles,
    y: Singles,
    weights: Singles,
    start: Singles,
    *,
    ridge: Singles,
    steps: int,
    proximal: float = 0.0,
) -> Singles:
    """What the sites return for `start`.

    Parameters
    ----------
    x, y
        Features with a first column of ones, shape (..., sites, people, p); labels 0 or 1, shape
        (..., sites, people).
    weights
        Each person's weight in its site's mean, shape (..., sites, people, settings).
    start
        Coefficients, shape (..., sites, p, settings).
    ridge
        On all coefficients but the intercept, per person, shape (settings,).
    steps
        Steps of gradient descent.
    proximal
        FedProx's mu.

    """
    b = start
    transposed = np.swapaxes(x, -1, -2)
    shrink = np.ones((x.shape[-1], 1), np.float32) * ridge
    shrink[0] = 0.0
    for _ in range(steps):
        residual = expected(x @ b)
        residual -= y[..., np.newaxis]
        residual *= weights
        slope = transposed @ residual + shrink * b
        if proximal:
            slope += np.float32(proximal) * (b - start)
        b = b - np.float32(RATE) * slope
    return b


def rounded(update: Singles, bits: int) -> Singles:
    """Each site's update in so many bits a number, and one scale; 1 bit is the sign."""
    size = np.abs(update)
    if bits == 1:
        signs: Singles = np.sign(update) * size.mean(axis=-2, keepdims=True)
        return signs
    levels = np.float32(2 ** (bits - 1) - 1)
    scale = np.maximum(size.max(axis=-2, keepdims=True), np.float32(1e-30)) / levels
    steps: Singles = np.rint(update / scale) * scale
    return steps


def average(
    x: Singles,
    y: Singles,
    mask: Singles,
    *,
    ridge: Singles,
    steps: int,
    rounds: int,
    proximal: float = 0.0,
    bits: int = 0,
) -> Iterator[Singles]:
    """The common coefficients after each round, shape (..., p, settings); they begin at zero.

    Parameters
    ----------
    x, y, ridge, steps, proximal
        As for `train_at_site`.
    mask
        1 for the people that a setting trains on, shape (..., sites, people, settings).
    rounds
        Number of rounds.
    bits
        To which sites round each number of their update; 0: not at all.

    """
    people = mask.sum(axis=-2, keepdims=True)
    weights = mask / np.maximum(people, 1.0)
    share = people / people.sum(axis=-3, keepdims=True)
    common = np.zeros((*x.shape[:-3], 1, x.shape[-1], mask.shape[-1]), np.float32)
    for _ in range(rounds):
        start = np.broadcast_to(common, (*x.shape[:-2], *common.shape[-2:]))
        returned = train_at_site(x, y, weights, start, ridge=ridge, steps=steps, proximal=proximal)
        if bits:
            returned = start + rounded(returned - start, bits)
        common = (share * returned).sum(axis=-3, keepdims=True)
        yield common[..., 0, :, :]


def after(runs: Iterator[Singles], rounds: Collection[int]) -> dict[int, Singles]:
    """The coefficients after the rounds that are asked for."""
    return {number: found for number, found in enumerate(runs, 1) if number in rounds}
