"""A difference of two rates together with a rate of one arm, or of both arms as one.

Alone a rate difference and its standard error are two equations for two numbers of events and two
times. The rate of one arm leaves one arm, which they give; the events and the time of all people
leave one number of events, and every value is tried.
"""

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qis.disclosure.consistent import EXACT, whole_numbers
from qis.disclosure.finding import Finding
from qis.disclosure.printed import precision_of
from qis.outcomes import Counts, Effect, Outcome

Floats = NDArray[np.float64]

_MOST_EVENTS: Final = 20_000
_HALVINGS: Final = 80
_ATTACK: Final = "from a rate difference and a rate of the same people"


def few_events(difference: Effect, answer: Outcome, *, is_arm: bool, limit: int) -> Finding | None:
    """Return a small number of events that a rate difference and another rate tell together.

    Parameters
    ----------
    difference
        An effect of measure "IRD".
    answer
        What else is known: counts of one arm with person-time, or their rate ("IRLN").
    is_arm
        True if that is of one of the arms, False if of all people.
    limit
        Smallest count above zero that may be derivable.

    """
    # Who holds both knows whether the rate is of the treated arm or of the control arm.
    ways = [partial(_other_arm, sign) for sign in (-1.0, 1.0)] if is_arm else [_both_arms]
    readings = list(_exact_rates(answer)), list(_rates(answer))
    for solve, rates in [(solve, rates) for solve in ways for rates in readings]:
        found = [events for rate in rates for events in solve(difference, *rate)]
        if found and all(0 < events < limit for events in found):
            return Finding(_ATTACK, "events in one of the arms", min(found))
    return None


def _exact_rates(answer: Outcome) -> Iterator[tuple[int, float, float]]:
    """The same of a rate whose error gives a whole number to nine digits: it is not rounded."""
    if isinstance(answer, Effect) and answer.measure == "IRLN":
        count = answer.standard_error**-2
        if round(count) and abs(count / round(count) - 1.0) <= EXACT:
            rate = math.exp(answer.estimate)
            yield round(count), rate, EXACT * rate


def _rates(answer: Outcome) -> Iterator[tuple[int, float, float]]:
    """Each number of events that an answer may be of, the rate, and the largest error of that."""
    if isinstance(answer, Counts):
        is_one_arm = answer.control_total is None
        if is_one_arm and answer.person_time and answer.events:
            rate = answer.events / answer.person_time
            yield answer.events, rate, 1e-12 * rate
    elif isinstance(answer, Effect) and answer.measure == "IRLN":
        of_log, of_error = precision_of(answer)
        error, rate = answer.standard_error, math.exp(answer.estimate)
        low, high = (1.0 / (error + side * of_error) ** 2 for side in (1, -1))
        for count in whole_numbers(low, high):
            if count:
                yield count, rate, rate * of_log


def _other_arm(
    sign: float, difference: Effect, count: int, rate: float, of_rate: float
) -> Iterator[int]:
    """Events of the other arm: its rate squared over what is left of the variance.

    Its rate is that of the known arm less the difference (`sign` -1), or more.
    """
    of_difference, of_error = precision_of(difference)
    ends = []
    for side, other_side, error_side in itertools.product((-1.0, 1.0), repeat=3):
        own = rate + side * of_rate
        other = own + sign * (difference.estimate + other_side * of_difference)
        variance = (difference.standard_error + error_side * of_error) ** 2
        left = variance - own * own / count
        if other > 0.0 and left > 0.0:
            ends.append(other * other / left)
    if ends and max(ends) < _MOST_EVENTS:
        yield from (events for events in whole_numbers(min(ends), max(ends)) if events)


def _both_arms(difference: Effect, count: int, rate: float, of_rate: float) -> Iterator[int]:
    """Try each number of events of one arm; the difference then divides the time."""
    if not 1 < count <= _MOST_EVENTS:
        return
    of_difference, of_error = precision_of(difference)
    time = count / rate
    one = np.arange(1.0, count)
    other = count - one
    errors = []
    for side in (-1.0, 1.0):
        at = difference.estimate + side * of_difference
        low, high = np.zeros_like(one), np.full_like(one, time)
        for _ in range(_HALVINGS):  # the difference falls as the first arm's time grows
            middle = (low + high) / 2.0
            with np.errstate(divide="ignore"):
                is_above = one / middle - other / (time - middle) > at
            low, high = np.where(is_above, middle, low), np.where(is_above, high, middle)
        times = (low + high) / 2.0
        with np.errstate(divide="ignore", invalid="ignore"):
            errors.append(np.sqrt(one / times**2 + other / (time - times) ** 2))
    slack = of_error + 1e-9 * difference.standard_error + of_rate / rate * np.max(errors, axis=0)
    fits = np.min(errors, axis=0) <= difference.standard_error + slack
    fits &= np.max(errors, axis=0) >= difference.standard_error - slack
    yield from (int(min(pair)) for pair in np.column_stack([one, other])[fits])
