"""Privacy budget: how much privacy (ε) each study may lose, and how much it has lost."""

from dataclasses import dataclass
from decimal import Decimal
from os import PathLike
from typing import Any, Final

from blake3 import blake3

from qis._paths import file_path
from qis.disclosure.lines import LineFile
from qis.errors import DisclosureError, InputError
from qis.outcomes import Outcome

_WAYS_OUT: Final = (
    "Ways out: a smaller epsilon, which is more noise; what was released already, which costs "
    "nothing to use again; or a larger budget, if those who answer for the data decide on one"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    study_id: bytes
    epsilon: Decimal
    """What was paid; 0 for the entry of a release, which was paid before."""
    digest: bytes
    """BLAKE3-256 of the released outcome's body; empty for a payment."""


class PrivacyBudget:
    """A total ε for every study, and what was spent of it. It is on disk before noise is drawn.

    The ε of one study add up, whatever cohorts they were spent on. Each study has its own budget: a
    person who is in several studies loses up to their sum. Several processes may share the file:
    each payment is made under its lock, with what the others have paid.

    Parameters
    ----------
    epsilon
        What may be spent on each study, positive.
    path
        A file of JSON lines, created if there is none. With `None`, what was spent is forgotten
        when the process ends.

    Raises
    ------
    StorageDamagedError
        If a line of the file is no entry.

    """

    def __init__(self, epsilon: float, path: str | PathLike[str] | None = None) -> None:
        if not 0.0 < epsilon < 1e6:
            raise InputError(
                f"a budget is a positive epsilon, not {epsilon!r:.40}",
                field="epsilon",
                actual=epsilon,
            )
        self.epsilon = epsilon
        self.path = None if path is None else file_path(path, without="None")
        self._file = LineFile(self.path, _entry)

    def spent(self, study_id: bytes) -> float:
        """The ε that was paid for a study so far."""
        self._file.refresh()
        return float(sum(self._paid(study_id)))

    def spend(self, study_id: bytes, epsilon: float, *, now: float) -> None:
        """Pay ε for a release, before its noise is drawn.

        Raises
        ------
        DisclosureError
            If less than that is left; nothing is paid.
        StorageError
            If the payment cannot be written; nothing may be released.

        """
        # Decimals, so that ten payments of 0.1 are 1 and not a little less.
        price = Decimal(repr(float(epsilon)))
        if price <= 0 or not price.is_finite():
            raise InputError(f"epsilon is {epsilon!r}; it is positive", field="epsilon")
        total = Decimal(repr(float(self.epsilon)))
        with self._file.writing():
            paid = self._paid(study_id)
            after = sum(paid) + price
            if after > total:
                terms = " + ".join(f"{one.normalize():f}" for one in (*paid, price))
                raise DisclosureError(
                    f"privacy budget of study {study_id.hex()}: {terms} = {after.normalize():f}, "
                    f"the limit is {total.normalize():f}. {_WAYS_OUT}.",
                    field="privacy_budget",
                    actual=float(after),
                    limit=self.epsilon,
                )
            self._note(_Entry(study_id, price, b""), now)

    def note_release(self, outcome: Outcome, *, now: float) -> None:
        """Remember an outcome that was paid for, so that `Disclosure` knows it again."""
        digest = blake3(outcome.encoded()).digest()
        self._note(_Entry(outcome.study_id, Decimal(0), digest), now)

    def covers(self, outcome: Outcome) -> bool:
        """True if exactly this outcome was paid for."""
        self._file.refresh()
        digest = blake3(outcome.encoded()).digest()
        return any(entry.digest == digest for entry in self._file.lines)

    def _paid(self, study_id: bytes) -> list[Decimal]:
        return [
            entry.epsilon
            for entry in self._file.lines
            if entry.study_id == study_id and not entry.digest
        ]

    def _note(self, entry: _Entry, now: float) -> None:
        self._file.append(
            {
                "study": entry.study_id.hex(),
                "epsilon": str(entry.epsilon),
                "digest": entry.digest.hex(),
                "at": now,
            }
        )


def _entry(content: dict[str, Any]) -> _Entry:
    epsilon = Decimal(str(content["epsilon"]))
    if not epsilon.is_finite() or epsilon < 0:
        raise ValueError
    return _Entry(bytes.fromhex(content["study"]), epsilon, bytes.fromhex(content["digest"]))
