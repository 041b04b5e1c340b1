"""Cox's partial likelihood of a two-arm comparison, as a function of the log hazard ratio.

With one binary covariate each factor of the partial likelihood depends on the risk set only
through the weight of each arm in it, so a site's whole likelihood is a short table of weights.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qis._columns import vector
from qis.errors import InputError
from qis.outcomes._strata import strata_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialLikelihood:
    """Log partial likelihood ``events_treated * b - sum(log(control + treated * exp(b)))``.

    Parameters
    ----------
    events_treated
        Events in the treated arm.
    events
        Events in both arms.
    n
        Number of people.
    control, treated
        Weight of each arm in the denominator of each factor, float64 of shape (events,): its
        number at risk, less Efron's share of the tied. Factors where one weight is 0 are constant
        in relation to their numerator and stay in the table.

    """

    events_treated: int
    events: int
    n: int
    control: Floats
    treated: Floats

    @classmethod
    def from_times(
        cls,
        *,
        times: ArrayLike,
        events: ArrayLike,
        treated: ArrayLike,
        strata: ArrayLike | None = None,
        entry: ArrayLike | None = None,
        ties: Literal["efron", "breslow"] = "efron",
    ) -> Self:
        """Build it from survival times, one entry a person in each array.

        Parameters
        ----------
        times
            Time of event or censoring, shape (n,), any unit, finite and not negative.
        events
            1 or True for an event, 0 or False for censoring, shape (n,).
        treated
            1 or True for the treated arm, shape (n,).
        strata
            Label of each person's stratum, shape (n,); baseline hazards differ between strata.
        entry
            Time from which each person is observed (delayed entry), before `times`, shape (n,).
            A person is at risk at time t if ``entry < t <= times``.
        ties
            How tied event times are handled: Efron (1977) or Breslow (1974).

        Raises
        ------
        InputError
            If shapes differ, values are not finite, or someone leaves before entering.

        """
        if ties not in ("efron", "breslow"):
            raise InputError(
                f"ties is {ties!r:.40}; it is 'efron' or 'breslow'",
                field="ties",
                actual=ties,
                limit=("efron", "breslow"),
            )
        stop = _column(times, "times")
        event = _flags(events, "events", stop.size)
        arm = _flags(treated, "treated", stop.size)
        if stop.min() < 0.0:
            row = int(stop.argmin())
            raise InputError(
                f"times[{row}] is {stop[row]:g}; a time since the start is not negative",
                field="times",
                actual=float(stop[row]),
                limit=0.0,
            )
        start = np.full(stop.size, -np.inf) if entry is None else _column(entry, "entry")
        if start.size != stop.size:
            _refuse_shape("entry", start.size, stop.size)
        if not (start < stop).all():
            raise InputError("somebody's entry is not before their time", field="entry")
        control: list[float] = []
        exposed: list[float] = []
        for chosen in strata_of(strata, stop.size):
            _add_factors(
                (control, exposed),
                (stop[chosen], event[chosen], arm[chosen], start[chosen]),
                efron=ties == "efron",
            )
        return cls(
            events_treated=int((event & arm).sum()),
            events=int(event.sum()),
            n=int(stop.size),
            control=np.array(control),
            treated=np.array(exposed),
        )

    def value(self, log_ratio: ArrayLike) -> Floats:
        """Log partial likelihood at log hazard ratios, in the shape of `log_ratio`."""
        b = np.asarray(log_ratio, dtype=np.float64)
        with np.errstate(divide="ignore"):
            terms = np.logaddexp(np.log(self.control), np.log(self.treated) + b[..., np.newaxis])
        total: Floats = self.events_treated * b - terms.sum(axis=-1)
        return total

    def gradient(self, log_ratio: ArrayLike) -> Floats:
        """Derivative of `value` with respect to the log hazard ratio."""
        b = np.asarray(log_ratio, dtype=np.float64)[..., np.newaxis]
        # The smaller of exp(b), exp(-b) never overflows; kept off zero lest an arm vanish.
        shrink = np.exp(-np.minimum(np.abs(b), 700.0))
        upper = self.treated * np.where(b > 0.0, 1.0, shrink)
        lower = self.control * np.where(b > 0.0, shrink, 1.0)
        total: Floats = self.events_treated - (upper / (upper + lower)).sum(axis=-1)
        return total

    @property
    def limiting_slopes(self) -> tuple[float, float]:
        """Slopes of `value` as the log hazard ratio goes to minus and to plus infinity."""
        return (
            float(self.events_treated - np.count_nonzero(self.control == 0.0)),
            float(self.events_treated - np.count_nonzero(self.treated > 0.0)),
        )


def _add_factors(
    factors: tuple[list[float], list[float]],
    people: tuple[Floats, NDArray[np.bool_], NDArray[np.bool_], Floats],
    *,
    efron: bool,
) -> None:
    """Append the arms' weights for each event of one stratum; `people` are time, event, arm, entry.

    Of d tied events, Efron's method takes the share j / d of the dying out of the j-th factor.
    """
    stop, event, arm, start = people
    for time in np.unique(stop[event]):
        at_risk = (start < time) & (stop >= time)
        dying = event & (stop == time)
        deaths = int(dying.sum())
        risk_treated, die_treated = int((at_risk & arm).sum()), int((dying & arm).sum())
        risk_control, die_control = int(at_risk.sum()) - risk_treated, deaths - die_treated
        for nth in range(deaths):
            share = nth / deaths if efron else 0.0
            factors[0].append(risk_control - share * die_control)
            factors[1].append(risk_treated - share * die_treated)


def _column(values: ArrayLike, field: str, *, booleans: bool = False) -> Floats:
    column = vector(values, field, booleans=booleans)
    if not column.size:
        raise InputError(f"{field} is empty; it must hold one number a person", field=field)
    return column


def _flags(values: ArrayLike, field: str, size: int) -> NDArray[np.bool_]:
    column = _column(values, field, booleans=True)
    if column.size != size:
        _refuse_shape(field, column.size, size)
    if not np.isin(column, (0.0, 1.0)).all():
        raise InputError(f"{field} must be 0 or 1 (or booleans) for each person", field=field)
    flags: NDArray[np.bool_] = column == 1.0
    return flags


def _refuse_shape(field: str, actual: int, limit: int) -> None:
    raise InputError(
        f"{field} has {actual} entries, times has {limit}; they must agree",
        field=field,
        actual=actual,
        limit=limit,
    )
