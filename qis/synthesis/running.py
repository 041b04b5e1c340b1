"""A fixed-effect synthesis that one packet more or less changes in constant time.

Under a common effect natural parameters add, so nothing has to be computed again. The sums are
exact (Shewchuk 1997), so that adding and removing in any order gives the bits of the whole sum.
"""

from dataclasses import dataclass, field
from math import fsum, inf
from statistics import NormalDist

from qis.errors import InputError
from qis.outcomes import Effect


class ExactSum:
    """A sum of float64 numbers without rounding; `value` is the sum, correctly rounded."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[float] = []

    def add(self, number: float) -> None:
        """Add a finite number; the negative of one that was added takes it away exactly."""
        kept = []
        for part in self._parts:
            large, small = (number, part) if abs(number) >= abs(part) else (part, number)
            number = large + small
            rest = small - (number - large)
            if rest:
                kept.append(rest)
        if number:
            kept.append(number)
        self._parts = kept

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return fsum(self._parts)


@dataclass(slots=True)
class RunningFixedEffect:
    """Inverse-variance pooling under a common effect, one outcome at a time.

    The same numbers as `synthesise(…, model="fixed")` of the same Effects, bit for bit.
    """

    count: int = 0
    """Number of outcomes in the sum."""
    _precision: ExactSum = field(default_factory=ExactSum)
    _product: ExactSum = field(default_factory=ExactSum)

    def add(self, effect: Effect) -> None:
        """Take in an outcome; the caller makes sure that all are of one study and measure."""
        precision = effect.standard_error**-2
        self._precision.add(precision)
        self._product.add(precision * effect.estimate)
        self.count += 1

    def remove(self, effect: Effect) -> None:
        """Take out an outcome that was added: it was retracted, or a newer one replaces it.

        Raises
        ------
        InputError
            If there is nothing to take out.

        """
        if not self.count:
            raise InputError("there is nothing to take out", field="effect")
        precision = effect.standard_error**-2
        self._precision.add(-precision)
        self._product.add(-(precision * effect.estimate))
        self.count -= 1

    @property
    def estimate(self) -> float | None:
        """The common effect; `None` before the first outcome."""
        return self._product.value / self._precision.value if self.count else None

    @property
    def standard_error(self) -> float | None:
        """Standard error of `estimate`; `None` before the first outcome."""
        return self._precision.value**-0.5 if self.count else None

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Normal interval of `estimate` at `level`; infinite before the first outcome."""
        estimate, error = self.estimate, self.standard_error
        if estimate is None or error is None:
            return -inf, inf
        half = NormalDist().inv_cdf(0.5 + level / 2.0) * error
        return estimate - half, estimate + half
