"""Reads the command line, runs one command, prints its answer, and gives the exit code."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from qis import __version__
from qis._gate import checked
from qis.command import doctor, evidence, keys, packets, simulate, site
from qis.command.result import CommandResult
from qis.errors import QISError
from qis.site.exit_codes import ExitCode, exit_code_of

_GROUPS: Final = (packets, evidence, keys, site, doctor, simulate)


@checked
def main(arguments: Sequence[str] | None = None) -> ExitCode | int:
    """Run one command.

    Parameters
    ----------
    arguments
        The words after the program's name; default: those of this process.

    Returns
    -------
    ExitCode or int
        The exit status: 2 if the words are not understood, else one of `qis.site.ExitCode`.

    Examples
    --------
    >>> from qis.command import main
    >>> main(["inspect", "00" * 512]).name
    the digits: NOT A PACKET: bytes 0–9 are not those of a packet
    'DATA'

    """
    try:
        options = parser().parse_args(arguments)
    except SystemExit as leaving:  # argparse has printed its help or what it did not understand
        return int(leaving.code or 0)
    run: Callable[[argparse.Namespace], CommandResult] = options.run
    try:
        answer = run(options)
        _print(answer, as_json=options.json)
    except BrokenPipeError:
        # Whoever read the output has enough. What is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except (QISError, OSError) as error:
        code = exit_code_of(error)
        if options.json:
            _print(
                CommandResult(text="", values={"error": str(error), "exit_code": code}),
                as_json=True,
            )
        sys.stderr.write(f"qis-protocol {options.command}: {error}\n")
        return code
    return answer.code


def _print(answer: CommandResult, *, as_json: bool) -> None:
    text = answer.text
    if as_json:
        text = json.dumps(_finite(answer.values), ensure_ascii=False, allow_nan=False)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    """The value with infinite limits as texts, since JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    whole = argparse.ArgumentParser(
        prog="qis-protocol",
        description="Outcome routing: look at packets, evidence and sites from the command line.",
        epilog="Exit codes are those of docs/embedding.md; 2: the command line is not understood.",
    )
    whole.add_argument("--version", action="version", version=f"qis-protocol {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in _GROUPS:
        group.add_to(commands, common)
    return whole
