"""What a command has found: words for people, values for programs, and an exit code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qis.site.exit_codes import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The result of a command.

    Parameters
    ----------
    text
        For people: what is printed without ``--json``.
    values
        For programs: what is printed with it, as one JSON object.
    code
        The exit status.

    Examples
    --------
    >>> from qis.command import CommandResult
    >>> CommandResult(text="3 packets", values={"packets": 3}).code.name
    'OK'

    """

    text: str
    values: Mapping[str, Any]
    code: ExitCode = ExitCode.OK
