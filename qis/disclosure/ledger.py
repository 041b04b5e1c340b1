"""What was released before, so that no two releases differ by a few people.

A mean published at n and again at n + 1 reveals the new one. Outsiders keep every version for
ever, so a new one is compared with all of them, those of overlapping cohorts too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Final, NamedTuple

from blake3 import blake3

from qis._paths import file_path
from qis.disclosure.lines import append_line, read_lines
from qis.errors import InputError
from qis.outcomes import Outcome

HASH_SIZE: Final = 16

Subjects = Mapping[bytes, bytes]
"""Hash of each subject → hash of what is known of it (empty if changes are not to be seen)."""


def subject_hashes(records: Mapping[str, str] | Iterable[str], *, key: bytes) -> dict[bytes, bytes]:
    """Keyed hashes of subjects, for the ledger; they and the key never leave the site.

    Parameters
    ----------
    records
        Subject's identifier → its data as text, to see changed data too; or identifiers only.
    key
        32 secret bytes: without them nobody can test an identifier against the ledger.

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
    """How two releases differ, in people."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """One release.

    Parameters
    ----------
    study_id, cohort
        What it was about.
    kind
        Of the outcome.
    n
        People, if known.
    digest
        BLAKE3-256 of the outcome's body.
    subjects
        Who was in it, if told.
    at
        Unix seconds.

    """

    study_id: bytes
    cohort: str
    kind: int
    n: int | None
    digest: bytes
    subjects: Subjects | None
    at: float

    @classmethod
    def of(cls, outcome: Outcome, subjects: Subjects | None, *, at: float) -> "Emission":
        """The release of an outcome."""
        if subjects is not None and not isinstance(subjects, Mapping):
            raise InputError(
                "subjects are those of qis.disclosure.subject_hashes", field="subjects"
            )
        return cls(
            study_id=outcome.study_id,
            cohort=outcome.cohort,
            kind=outcome.kind,
            n=getattr(outcome, "n", None),
            digest=blake3(outcome.encoded()).digest(),
            subjects=None if subjects is None else dict(subjects),
            at=at,
        )

    def difference(self, former: "Emission") -> Difference | None:
        """By whom this differs from a former one; `None` if subjects are not known of both."""
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
        """Whether the two have people in common, as far as known."""
        if self.subjects is None or former.subjects is None:
            return False
        return not self.subjects.keys().isdisjoint(former.subjects.keys())


class EmissionLedger:
    """All releases, in memory or in a file that is synced before a release.

    The file (mode 0600) holds keyed hashes of subjects: it stays at the site. One process writes.

    Parameters
    ----------
    path
        A file of JSON lines, made if there is none; `None`: forgotten when the process ends, so
        that nothing before is compared.

    Raises
    ------
    StorageDamagedError
        If a line of the file is no emission.

    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self.path = None if path is None else file_path(path, without="None")
        self._emissions: list[Emission] = []
        if self.path is not None and self.path.exists():
            self._emissions = read_lines(self.path, _emission)

    def of_study(self, study_id: bytes) -> list[Emission]:
        """What was released under a study, first to last."""
        return [emission for emission in self._emissions if emission.study_id == study_id]

    def note(self, emission: Emission) -> None:
        """Remember a release, before it is made.

        Raises
        ------
        StorageError
            If the disk refuses; then nothing may be released.

        """
        if self.path is not None:
            append_line(self.path, _line(emission))
        self._emissions.append(emission)


def _line(emission: Emission) -> dict[str, Any]:
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
    }


def _emission(content: dict[str, Any]) -> Emission:
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
    )
