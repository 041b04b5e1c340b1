"""How a module adds a command to the parser."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from qis.command.result import CommandResult

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  it has no other name
else:
    Commands = object


def add(
    commands: Commands,
    common: argparse.ArgumentParser,
    name: str,
    run: Callable[[argparse.Namespace], CommandResult],
) -> argparse.ArgumentParser:
    """Add a command whose help is its function's docstring."""
    said = (run.__doc__ or "").strip()
    parser = commands.add_parser(
        name, parents=[common], help=said.splitlines()[0].rstrip("."), description=said
    )
    parser.set_defaults(run=run)
    return parser
