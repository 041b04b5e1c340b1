"""Emission ledger: the record of former releases, so that no two differ by a few people.

A mean published for n people and again for n + 1 reveals the value of the new person. Outsiders
keep every version for ever, so a new release is compared with all former ones, those of overlapping
cohorts too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from typing import Any, Final, NamedTuple

from blake3 import blake3

from qis import _canonical
from qis._gate import checked
from qis.account import Account, Lines
from qis.errors import InputError, QISError
from qis.outcomes import Outcome
from qis.outcomes._base import KEY_QUESTION

HASH_SIZE: Final = 16

Subjects = Mapping[bytes, bytes]
"""Hash of each subject → hash of its data (empty if changes of data are not to be found)."""


@checked
def subject_hashes(records: Mapping[str, str] | Iterable[str], *, key: bytes) -> dict[bytes, bytes]:
    """Compute keyed hashes of subjects for the ledger. They and the key never leave the site.

    Parameters
    ----------
    records
        Identifier of each subject → its data as text, so that changed data are found too; or
        identifiers only.
    key
        32 secret bytes: without them nobody can test an identifier against the ledger.

    Examples
    --------
    >>> from qis.disclosure import subject_hashes
    >>> hashes = subject_hashes(["Ann", "Ben"], key=bytes(range(32)))
    >>> len(hashes)
    2

    """
    if type(key) is not bytes or len(key) != 32:
        raise InputError("the key of subject hashes is 32 secret bytes", field="key", limit=32)
    pairs = records.items() if isinstance(records, Mapping) else ((name, "") for name in records)
    return {
        blake3(b"subject " + name.encode(), key=key).digest(HASH_SIZE): (
            blake3(b"data " + data.encode(), key=key).digest(HASH_SIZE) if data else b""
        )
        for name, data in pairs
    }


class Difference(NamedTuple):
    """How many people two releases differ by."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """One release, as the ledger keeps it.

    Parameters
    ----------
    study_id, cohort
        Study and cohort that it was published under.
    kind
        Number of the outcome's kind.
    n
        Number of people, if known.
    digest
        BLAKE3-256 of the outcome's body.
    subjects
        Hashes of the people in it, if given.
    at
        Time of the release, Unix seconds.
    body
        The outcome's body as it travelled, so that later answers about the same people are
        inverted together with it; empty in ledgers of former versions.
    public
        JSON of what outsiders know of it beside its body: the anchor of a model, and the
        information that each person brings; empty if nothing.

    """

    study_id: bytes
    cohort: str
    kind: int
    n: int | None
    digest: bytes
    subjects: Subjects | None
    at: float
    body: bytes = b""
    public: str = ""

    @classmethod
    def of(cls, outcome: Outcome, subjects: Subjects | None, *, at: float) -> "Emission":
        """Describe the release of an outcome; `at` is in Unix seconds."""
        if subjects is not None and not isinstance(subjects, Mapping):
            raise InputError(
                "subjects are those of qis.disclosure.subject_hashes", field="subjects"
            )
        body = outcome.encoded()
        return cls(
            study_id=outcome.study_id,
            cohort=outcome.cohort,
            kind=outcome.kind,
            n=getattr(outcome, "n", None),
            digest=blake3(body).digest(),
            subjects=None if subjects is None else dict(subjects),
            at=at,
            body=body,
            public=_public(outcome),
        )

    @property
    def question(self) -> str:
        """The words of its question in small letters, without marks; "" if not known."""
        return _words_of(self.body)

    def difference(self, former: "Emission") -> Difference | None:
        """Compare people with a former release; `None` unless subjects are known of both."""
        if self.subjects is None or former.subjects is None:
            return None
        mine, theirs = self.subjects, former.subjects
        both = mine.keys() & theirs.keys()
        return Difference(
            added=len(mine) - len(both),
            removed=len(theirs) - len(both),
            changed=sum(mine[subject] != theirs[subject] for subject in both),
        )

    def overlaps(self, former: "Emission") -> bool:
        """True if the two are known to have people in common."""
        if self.subjects is None or former.subjects is None:
            return False
        return not self.subjects.keys().isdisjoint(former.subjects.keys())


@lru_cache(maxsize=4096)
def _words_of(body: bytes) -> str:
    try:
        question = _canonical.decode(body)[KEY_QUESTION]
    except (QISError, ValueError, KeyError, TypeError):
        return ""  # of a former version, or another
    return " ".join(re.findall(r"\w+", str(question).casefold()))


class EmissionLedger:
    """Record of all releases, in memory or in an account that is synced before each release.

    The file (mode 0600) holds keyed hashes of subjects, so it stays at the site. Several
    processes may use it: each reads what the others have noted, and nobody notes anything else
    before it has decided. A loop takes it over into the account of its key.

    Parameters
    ----------
    path
        A `qis.Account`, or the path of one, made if there is none. A file of JSON lines of a former
        version is taken over into ``<path>.account`` and stays as it is. With `None` the record is
        forgotten when the process ends, and later releases are not compared with earlier ones.

    Raises
    ------
    StorageDamagedError
        If a line of the file is no emission, or some are missing.
    StorageError
        If the file cannot be opened.

    Examples
    --------
    >>> import qis
    >>> from qis.disclosure import EmissionLedger
    >>> ledger = EmissionLedger()  # in memory; give a path to keep it
    >>> rules = qis.Disclosure.preset("cms")  # makes one of its own
    >>> isinstance(rules.ledger, EmissionLedger)
    True

    """

    @checked
    def __init__(self, path: Account | str | PathLike[str] | None = None) -> None:
        self._lines = Lines(path, "emission", emission_of)

    @property
    def account(self) -> Account | None:
        """The account that it is kept in; `None` in memory."""
        return self._lines.account

    def __iter__(self) -> Iterator[Emission]:
        """All releases, in the order in which they were made, then those of unknown packets."""
        self._lines.refresh()
        return iter((*self._lines.lines, *self._lines.unknown("emission")))

    @checked
    def of_study(self, study_id: bytes) -> list[Emission]:
        """The releases under a study, in the order in which they were made."""
        return [emission for emission in self if emission.study_id == study_id]

    @checked
    def of_question(self, emission: Emission) -> list[Emission]:
        """The releases under the same study, and those of other studies that ask the same.

        A study that declares another measure is another one, and about the same table.
        """
        asked = emission.question
        return [
            former
            for former in self
            if former.study_id == emission.study_id or (asked and former.question == asked)
        ]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other processes from noting a release between a check and `note`."""
        with self._lines.writing():
            yield

    @checked
    def note(self, emission: Emission) -> None:
        """Write down a release, before it is made.

        Raises
        ------
        AccountError
            If the account is in doubt; then nothing may be released.
        StorageError
            If the file cannot be written; then nothing may be released.

        """
        self._lines.append(line_of(emission))

    @checked
    def move_to(self, account: Account) -> None:
        """Go on in another account, which takes over everything that is in this one's."""
        self._lines.move_to(account)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._lines.close()

    def __repr__(self) -> str:
        return f"<EmissionLedger {'in memory' if self.account is None else 'on disk'}>"


def line_of(emission: Emission) -> dict[str, Any]:
    """A release as the account keeps it."""
    subjects = emission.subjects
    return {
        "study": emission.study_id.hex(),
        "cohort": emission.cohort,
        "kind": emission.kind,
        "n": emission.n,
        "digest": emission.digest.hex(),
        "subjects": None
        if subjects is None
        else {who.hex(): what.hex() for who, what in subjects.items()},
        "at": emission.at,
        "body": emission.body.hex(),
        "public": emission.public,
    }


def _public(outcome: Outcome) -> str:
    known = outcome.known
    if known is None or not known.anchor:
        return ""
    return json.dumps(
        {"anchor": known.anchor, "weight": known.weight, "own_intercept": known.own_intercept}
    )


def emission_of(content: dict[str, Any]) -> Emission:
    """The inverse of `line_of`."""
    subjects = None
    if content["subjects"] is not None:
        told = content["subjects"].items()
        subjects = {bytes.fromhex(who): bytes.fromhex(what) for who, what in told}
    return Emission(
        study_id=bytes.fromhex(content["study"]),
        cohort=str(content["cohort"]),
        kind=int(content["kind"]),
        n=content["n"],
        digest=bytes.fromhex(content["digest"]),
        subjects=subjects,
        at=float(content["at"]),
        body=bytes.fromhex(content.get("body", "")),
        public=str(content.get("public", "")),
    )
