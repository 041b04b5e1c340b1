"""Counts with calibrated noise (differential privacy), for sites that are below every threshold.

Neighbours are two data sets of which one has one person more. A person is in one cell of a two-arm
table (events and others in each arm), so adding or removing one changes one of four counts by one:
the table has L1 sensitivity 1, and discrete Laplace noise of scale 1/ε on every cell is pure
ε-differentially private (Dwork et al. 2006; Ghosh et al. 2012). Releases add up (basic
composition), and each is paid from a budget before its noise is drawn. OpenDP draws it, on whole
numbers and without floating-point arithmetic, whose rounding would give the true count away
(Mironov 2012).

What is released is the likelihood of all true tables, weighted by the probability that noise turned
them into this one: intervals are as wide as the noise makes them. Everything in the outcome, its
numbers of people and events too, comes from the noisy cells.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from qis._gate import checked
from qis.disclosure.budget import PrivacyBudget
from qis.disclosure.coarse import Arm, CoarseOddsRatio
from qis.disclosure.envelope import Envelope
from qis.errors import InputError, MissingExtraError
from qis.outcomes import Counts, LikelihoodProfile

SMALLEST_EPSILON: Final = 0.1
LARGEST_EPSILON: Final = 10.0
_LEFT_OUT: Final = 1e-8
"""Probability of noise larger than what is summed over."""


@checked
def private_counts(
    counts: Counts, *, epsilon: float, budget: PrivacyBudget, now: float
) -> LikelihoodProfile:
    """Pay ε, add noise to the four cells of a table, and return the likelihood given these.

    Parameters
    ----------
    counts
        Two arms, without person-time; cells may be zero.
    epsilon
        What this release costs, from 0.1 to 10: it changes anybody's odds that a person is in the
        data by a factor of at most exp(ε).
    budget
        The budget from which it is paid.
    now
        Present time, Unix seconds.

    Returns
    -------
    LikelihoodProfile
        A profile of measure "OR". `Disclosure` lets it pass if it has the same budget.

    Raises
    ------
    DisclosureError
        If the budget of the study does not have ε left.
    StorageError
        If the payment cannot be written; then no noise was drawn.
    InputError
        If there is one arm only, person-time, or ε is out of range.
    MissingExtraError
        If OpenDP is not installed.

    Examples
    --------
    >>> import qis
    >>> counts = qis.Counts(
    ...     question="a vs b | c", events=30, total=400, control_events=50, control_total=410
    ... )
    >>> from qis.disclosure import PrivacyBudget, private_counts
    >>> budget = PrivacyBudget(2.0)
    >>> profile = private_counts(counts, epsilon=1.0, budget=budget, now=1_800_000_000)
    >>> profile.measure, budget.spent(counts.study_id)
    ('OR', 1.0)

    """
    if counts.control_events is None or counts.control_total is None:
        raise InputError("one arm has no odds ratio", field="control_events")
    if counts.person_time is not None:
        raise InputError(
            "a person may have any number of events in person-time, so noise cannot be calibrated",
            field="counts",
        )
    _check_epsilon(epsilon)
    noise = _measurement(epsilon)
    # Paid first: a crash between the two loses ε, not privacy.
    budget.spend(counts.study_id, epsilon, now=now)
    cells = (
        counts.events,
        counts.total - counts.events,
        counts.control_events,
        counts.control_total - counts.control_events,
    )
    profile = profile_of_noisy_cells(
        noise(list(cells)),
        epsilon=epsilon,
        study_id=counts.study_id,
        question=counts.question,
        cohort=counts.cohort,
    )
    budget.note_release(profile, now=now)
    return profile


def profile_of_noisy_cells(
    cells: Sequence[int], *, epsilon: float, **fields: Any
) -> LikelihoodProfile:
    """The likelihood of a log odds ratio, given four cells with discrete Laplace noise.

    Parameters
    ----------
    cells
        Events and people without event of the treated arm, then of the control arm; noise may have
        made them negative.
    epsilon
        The noise has the scale 1/ε.
    fields
        Further fields of the profile: `study`, `question` or `study_id`, and `cohort`.

    """
    events, others, control_events, control_others = cells
    likelihood = CoarseOddsRatio(
        _arm(events, others, epsilon), _arm(control_events, control_others, epsilon)
    )
    people = max(0, sum(cells))
    return LikelihoodProfile.from_evaluation(
        Envelope(likelihood),
        None,
        measure="OR",
        n=people,
        events=min(people, max(0, events + control_events)),
        protection=f"noise, epsilon {epsilon:g}",
        **fields,
    )


def _arm(events: int, others: int, epsilon: float) -> Arm:
    """All pairs of true cells that noise may have turned into these, with the noise's weights."""
    reach = math.ceil(-math.log(_LEFT_OUT) / epsilon)
    columns, logs = [], []
    for cell in (events, others):
        true = np.arange(max(0, cell - reach), max(0, cell) + reach + 1)
        columns.append(true)
        logs.append(-epsilon * np.abs(true - cell))
    a, b = (grid.ravel() for grid in np.meshgrid(*columns, indexing="ij"))
    weights = np.add.outer(*logs).ravel()
    # Nobody's noise is that large in both cells at once; half of the pairs are so.
    near = weights >= weights.max() + math.log(_LEFT_OUT)
    return Arm(a[near], (a + b)[near], weights[near], max(1, events + others))


def _check_epsilon(epsilon: float) -> None:
    if not SMALLEST_EPSILON <= epsilon <= LARGEST_EPSILON:
        raise InputError(
            f"epsilon is {epsilon!r}; it is from {SMALLEST_EPSILON:g} (noise of ten people) to "
            f"{LARGEST_EPSILON:g} (hardly any)",
            field="epsilon",
            actual=epsilon,
            limit=(SMALLEST_EPSILON, LARGEST_EPSILON),
        )


def _measurement(epsilon: float) -> Any:
    """OpenDP's discrete Laplace noise for whole numbers, with its proof that it costs at most ε."""
    try:
        import opendp.prelude as dp  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingExtraError(
            'calibrated noise needs OpenDP: pip install "qis-protocol[dp]"', field="dp"
        ) from error
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    scale = 1.0 / epsilon
    noise: Any = dp.m.make_laplace(*space, scale=scale)
    while noise.map(1) > epsilon:  # what OpenDP proves, rounded up
        scale = math.nextafter(scale, math.inf)
        noise = dp.m.make_laplace(*space, scale=scale)
    return noise
