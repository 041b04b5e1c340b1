"""Exit statuses of jobs and commands, which tell a scheduler whether to try again.

The numbers are those of BSD's sysexits.h where it has one. docs/embedding.md shows the table.
"""

import errno
from enum import IntEnum
from typing import Final

from qis._gate import checked
from qis.errors import (
    ClockError,
    ConfigurationError,
    DisclosureError,
    InputError,
    KeyFileError,
    MissingExtraError,
    PeerError,
    QISError,
    SchemeMismatchError,
    StorageDamagedError,
    StorageError,
    TransportError,
)


class ExitCode(IntEnum):
    """An exit status; `meaning` says it in words, `is_passing` whether another run may help.

    Examples
    --------
    >>> from qis.site import ExitCode
    >>> ExitCode(0).name
    'OK'

    """

    OK = 0
    FAILED = 1
    KEPT_BACK = 3
    DATA = 65
    NO_INPUT = 66
    CLOCK = 71
    DAMAGED = 74
    LATER = 75
    FORBIDDEN = 77
    CONFIGURATION = 78

    @property
    def meaning(self) -> str:
        """What has happened, in a sentence."""
        return _MEANINGS[self]

    @property
    def is_passing(self) -> bool:
        """True if a later run may succeed without anybody's help."""
        return self is ExitCode.LATER


_MEANINGS: Final = {
    ExitCode.OK: "done, or nothing new",
    ExitCode.FAILED: "an error that nobody foresaw, with its traceback",
    ExitCode.KEPT_BACK: "a rule keeps the new outcome at the site",
    ExitCode.DATA: "an outcome, or a file of packets, is not what it has to be",
    ExitCode.NO_INPUT: "a file that the analysis reads is not there",
    ExitCode.CLOCK: "the machine's clock is doubted, so nothing was published",
    ExitCode.DAMAGED: "a file holds something else than what was written",
    ExitCode.LATER: "another run is at it, the share is away, the disk is full, or not all is sent",
    ExitCode.FORBIDDEN: "a file or folder may not be read or written",
    ExitCode.CONFIGURATION: "site.toml, or a key, roster, study or extra that it needs, is missing "
    "or wrong",
}
_OF_A_SITE: Final = (ConfigurationError, KeyFileError, MissingExtraError, SchemeMismatchError)


@checked
def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit status for an error.

    Parameters
    ----------
    error
        The exception that was raised.

    Examples
    --------
    >>> import qis
    >>> from qis.site import exit_code_of
    >>> exit_code_of(qis.StorageError("the disk is full")).is_passing
    True

    """
    if _is_forbidden(error):
        return ExitCode.FORBIDDEN
    if isinstance(error, DisclosureError):
        # A refused interest is a setting of the site: every later outcome would fail like this one.
        return ExitCode.CONFIGURATION if error.field == "interest" else ExitCode.KEPT_BACK
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return code
    is_missing = isinstance(error, FileNotFoundError) and not isinstance(error, QISError)
    return ExitCode.NO_INPUT if is_missing else ExitCode.FAILED


_CODES: Final[tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...]] = (
    (_OF_A_SITE, ExitCode.CONFIGURATION),
    ((InputError, PeerError), ExitCode.DATA),
    ((ClockError,), ExitCode.CLOCK),
    ((StorageDamagedError,), ExitCode.DAMAGED),
    ((StorageError, TransportError), ExitCode.LATER),
)
"""Classes of errors and their exit codes; the first that fits counts."""


def _is_forbidden(error: BaseException) -> bool:
    """True if an error was caused by a missing permission."""
    if not isinstance(error, StorageError | TransportError):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return True
        cause = cause.__cause__
    return False
