"""The command line: ``python -m qis``, or ``qis-protocol`` where the package is installed.

Each command computes an `CommandResult`; this module alone prints and turns errors into exit codes.
"""

from qis.command.result import CommandResult
from qis.command.running import main

__all__ = ["CommandResult", "main"]
