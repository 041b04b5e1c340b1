"""Opens the site of a command, and closes it again."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from qis.command.result import CommandResult
from qis.site.opening import SiteLoop, open_site

Act = Callable[[SiteLoop], Awaitable[CommandResult]]


def opened(options: argparse.Namespace, act: Act) -> CommandResult:
    """Open the site that the command names, and do something with it."""

    async def within() -> CommandResult:
        async with open_site(Path(options.site)) as site:
            return await act(site)

    return asyncio.run(within())
