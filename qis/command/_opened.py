"""Opens the site of a command, and closes it again."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from qis.command.progress import watched
from qis.command.result import CommandResult
from qis.health import HealthState
from qis.site.opening import SiteLoop, open_site

Act = Callable[[SiteLoop], Awaitable[CommandResult]]


def opened(options: argparse.Namespace, act: Act, *, is_watched: bool = True) -> CommandResult:
    """Open the site that the command names, and do something with it.

    `is_watched` says whether progress is shown: not where somebody is asked, or a log tells.
    """

    async def within() -> CommandResult:
        if not is_watched:
            async with open_site(Path(options.site)) as site:
                return await act(site)
        found: list[SiteLoop] = []
        async with watched(lambda: _how_far(found)), open_site(Path(options.site)) as site:
            found.append(site)
            return await act(site)

    return asyncio.run(within())


def _how_far(found: list[SiteLoop]) -> str:
    if not found:
        return "the site opens"
    site, statistics = found[0], found[0].statistics
    missing = len(site.undelivered()) if site.health.state is not HealthState.CLOSED else 0
    return (
        f"received: {statistics.received:,}, synthesised: {statistics.synthesised:,}, "
        f"to be delivered: {missing:,}"
    )
