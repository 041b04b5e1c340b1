"""What is wrong with an account, by fixed words, with what each means."""

from dataclasses import dataclass
from typing import Final

from qis.picture.html import HasTable

FINDINGS: Final = {
    "account_older": "the account is older than its witness: a copy from a backup, a cut file, or "
    "a log of last changes (-wal) that is missing",
    "account_missing": "the account that this key's witness names is not there",
    "account_gap": "releases or payments are missing from the account, or were changed in it",
    "account_superseded": "the record of releases was taken over by the account of another key",
    "witness_missing": "the witness of the account is not there",
    "witness_damaged": "the witness of the account cannot be read",
    "audit_cut": "the audit log does not contain the head that was written down elsewhere",
    "audit_ahead": "the audit log tells of packets that left and that the account does not know",
    "former_file_changed": "a file whose content was taken into the account was written to since",
    "unknown_packet": "packets of this key that this site does not know: a backup was restored, "
    "or somebody else has the key",
    "stolen": "a person has said that the key was stolen",
}
"""Code of each finding, and what it means; docs/operating.md says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFinding(HasTable):
    """Something about a site's account that a person has to look at; until then nothing leaves.

    Parameters
    ----------
    code
        A key of `FINDINGS`, the same in every version.
    text
        What was found, in words. No number of people is in it.
    found_at
        Unix seconds.

    """

    code: str
    text: str
    found_at: float

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"
