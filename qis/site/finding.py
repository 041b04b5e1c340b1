"""What the doctor says, and what its checks know of a site."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qis.errors import QISError
from qis.evidence import Roster
from qis.fingerprint import Scheme
from qis.identity import Identity
from qis.outcomes import Study
from qis.picture.html import HasTable
from qis.site.exit_codes import ExitCode, exit_code_of
from qis.site.table import TomlTable


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFinding(HasTable):
    """What one check has found.

    Parameters
    ----------
    code
        What was looked at, or what is wrong: the same word in every version.
    text
        In words: what is there, and what to do.
    is_wrong
        True if somebody has to do something.
    exit_code
        What a job would end with for it.

    Examples
    --------
    >>> from qis.site import SiteFinding
    >>> print(SiteFinding(code="disk", text="/srv/qis has 4321 MB left"))
    ok     disk: /srv/qis has 4321 MB left

    """

    code: str
    text: str
    is_wrong: bool = False
    exit_code: ExitCode = ExitCode.OK

    def __str__(self) -> str:
        return f"{'WRONG' if self.is_wrong else 'ok':5}  {self.code}: {self.text}"


@dataclass(slots=True)
class Examined:
    """What the checks have found out so far; later ones build upon it."""

    table: TomlTable
    now: float
    identity: Identity | None = None
    roster: Roster | None = None
    scheme: Scheme[Any] | None = None
    studies: tuple[Study, ...] = ()
    paths: dict[str, Path] = field(default_factory=dict)


def failed(code: str, error: QISError) -> SiteFinding:
    """A check that raised."""
    return SiteFinding(code=code, text=str(error), is_wrong=True, exit_code=exit_code_of(error))


def wrong(code: str, text: str, exit_code: ExitCode = ExitCode.CONFIGURATION) -> SiteFinding:
    """Something that somebody has to do something about."""
    return SiteFinding(code=code, text=text, is_wrong=True, exit_code=exit_code)


def date_of(seconds: float) -> str:
    """A time in Unix seconds in words."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
