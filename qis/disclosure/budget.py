"""Privacy budget: how much privacy (ε) each study may lose, and how much it has lost."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from os import PathLike
from typing import Any, Final

from blake3 import blake3

from qis._gate import checked
from qis.account import Account, Lines
from qis.errors import DisclosureError, InputError
from qis.outcomes import Outcome

_WAYS_OUT: Final = (
    "Ways out: a smaller epsilon, which is more noise; what was released already, which costs "
    "nothing to use again; or a larger budget, if those who answer for the data decide on one"
)

_PROTECTION: Final = re.compile(r"noise, epsilon ([0-9]+(?:\.[0-9]+)?)", re.ASCII)
"""What `private_counts` says of its profiles."""


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
    each payment is made with what the others have paid. A loop takes it over into the account of
    its key, where a notebook finds it: ``PrivacyBudget(1.0, qis.Account.of(identity))``.

    Parameters
    ----------
    epsilon
        What may be spent on each study, positive.
    path
        A `qis.Account`, or the path of one, made if there is none. A file of JSON lines of a former
        version is taken over into ``<path>.account`` and stays as it is. With `None`, what was
        spent is forgotten when the process ends.

    Raises
    ------
    StorageDamagedError
        If a line of the file is no entry.

    Examples
    --------
    >>> from qis.disclosure import PrivacyBudget
    >>> budget = PrivacyBudget(2.0)
    >>> budget.epsilon, budget.spent(bytes(8))
    (2.0, 0.0)

    """

    @checked
    def __init__(self, epsilon: float, path: Account | str | PathLike[str] | None = None) -> None:
        if not 0.0 < epsilon < 1e6:
            raise InputError(
                f"a budget is a positive epsilon, not {epsilon!r:.40}",
                field="epsilon",
                actual=epsilon,
            )
        self.epsilon = epsilon
        self._lines = Lines(path, "payment", _entry)

    @property
    def account(self) -> Account | None:
        """The account that it is kept in; `None` in memory."""
        return self._lines.account

    @checked
    def move_to(self, account: Account) -> None:
        """Go on in another account, which takes over everything that is in this one's."""
        self._lines.move_to(account)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._lines.close()

    @checked
    def spent(self, study_id: bytes) -> float:
        """The ε that was paid for a study so far."""
        self._lines.refresh()
        return float(sum(self._paid(study_id)))

    @checked
    def spend(self, study_id: bytes, epsilon: float, *, now: float) -> None:
        """Pay ε for a release, before its noise is drawn.

        Raises
        ------
        DisclosureError
            If less than that is left; nothing is paid.
        AccountError
            If the account is in doubt; nothing is paid.
        StorageError
            If the payment cannot be written; nothing may be released.

        """
        # Decimals, so that ten payments of 0.1 are 1 and not a little less.
        price = Decimal(repr(float(epsilon)))
        if price <= 0 or not price.is_finite():
            raise InputError(f"epsilon is {epsilon!r}; it is positive", field="epsilon")
        total = Decimal(repr(float(self.epsilon)))
        with self._lines.writing():
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

    @checked
    def note_release(self, outcome: Outcome, *, now: float) -> None:
        """Remember an outcome that was paid for, so that `Disclosure` knows it again."""
        digest = blake3(outcome.encoded()).digest()
        self._note(_Entry(outcome.study_id, Decimal(0), digest), now)

    @checked
    def covers(self, outcome: Outcome) -> bool:
        """True if exactly this outcome was paid for."""
        self._lines.refresh()
        digest = blake3(outcome.encoded()).digest()
        return any(entry.digest == digest for entry in self._lines.lines)

    def _paid(self, study_id: bytes) -> list[Decimal]:
        return [
            entry.epsilon
            for entry in (*self._lines.lines, *self._lines.unknown("payment"))
            if entry.study_id == study_id and not entry.digest
        ]

    def _note(self, entry: _Entry, now: float) -> None:
        self._lines.append(
            {
                "study": entry.study_id.hex(),
                "epsilon": str(entry.epsilon),
                "digest": entry.digest.hex(),
                "at": now,
            }
        )

    def __repr__(self) -> str:
        return f"<PrivacyBudget of epsilon {self.epsilon:g} a study>"


def payment_of(outcome: Outcome, *, at: float) -> str | None:
    """The line of a payment that an outcome with calibrated noise must have cost; else `None`."""
    found = _PROTECTION.fullmatch(str(getattr(outcome, "protection", "")))
    if found is None:
        return None
    price = Decimal(found[1])
    return json.dumps(
        {"study": outcome.study_id.hex(), "epsilon": str(price), "digest": "", "at": at}
    )


def _entry(content: dict[str, Any]) -> _Entry:
    epsilon = Decimal(str(content["epsilon"]))
    if not epsilon.is_finite() or epsilon < 0:
        raise ValueError
    return _Entry(bytes.fromhex(content["study"]), epsilon, bytes.fromhex(content["digest"]))
