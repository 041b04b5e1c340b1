"""A site that takes in what comes and sends what waits: once until it is quiet, or until told."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Final

from qis.errors import StorageError
from qis.models import FittedModel
from qis.site import service_manager
from qis.site.opening import SiteLoop
from qis.synthesis import Synthesis

DELIVERY_S: Final = 60.0
"""How long a single run waits until others hold what is to be sent."""
LONGEST_S: Final = 3_600.0
"""Where something new comes all the time a single run ends after this."""
OnRound = Callable[[], object]

_log = logging.getLogger("qis.site")


async def once(site: SiteLoop, *, quiet_s: float) -> dict[str, Any]:
    """Send what waits, and take in until nothing new has come for so many seconds."""
    is_sent = await site.flush(DELIVERY_S)
    await quiet(site, quiet_s)
    return {"sent": is_sent or not site.undelivered(), **state_of(site)}


async def quiet(site: SiteLoop, quiet_s: float) -> None:
    """Wait until nothing new has come, and nothing was computed, for so many seconds."""
    for _ in range(math.ceil(LONGEST_S / quiet_s)):
        before = _activity(site)
        await asyncio.sleep(quiet_s)
        if _activity(site) == before and not site.is_synthesising:
            return


async def until(
    stop: asyncio.Event, site: SiteLoop, *, every_s: float, on_round: OnRound
) -> dict[str, Any]:
    """Stay open until `stop` is set; call `on_round` every so many seconds, and at the end.

    Files that `on_round` cannot write are told in the log, and tried again in the next round; at
    the end they are an error. systemd, if it listens, hears each round that the site is alive.
    """
    limit_s = service_manager.watchdog_s()
    pause_s = every_s if limit_s is None else min(every_s, limit_s / 2.0)
    service_manager.tell("READY=1")
    try:
        while not stop.is_set():
            site.check()  # raises what has ended the loop, if something has
            try:
                on_round()
            except StorageError as error:
                _log.error("tried again in %g s: %s", pause_s, error)
            service_manager.tell("WATCHDOG=1", service_manager.status(str(site.health)))
            try:
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            except TimeoutError:
                continue
    finally:
        service_manager.tell("STOPPING=1")
    on_round()
    return {"sent": not site.undelivered(), **state_of(site)}


def state_of(site: SiteLoop) -> dict[str, Any]:
    """How a site is, as plain values, without any number that a rule or an embargo keeps back."""
    newest = [found for study in site.store.studies() if (found := site.latest(study)) is not None]
    return {
        "health": str(site.health),
        "account": [str(each) for each in site.check()],
        "waiting": [each.id for each in site.waiting()],
        "undelivered": [
            {"packet": each.packet.id.hex(), "since": each.since, "why": each.reason}
            for each in site.undelivered()
        ],
        "syntheses": [_said(each) for each in newest if isinstance(each, Synthesis)],
        "models": [_fitted(each) for each in newest if isinstance(each, FittedModel)],
        "events": dict(site.statistics.events),
    }


def _said(synthesis: Synthesis) -> dict[str, Any]:
    said = {
        "question": synthesis.question,
        "sites": [site.name for site in synthesis.sites],
        "digest": synthesis.digest.hex(),
    }
    if synthesis.is_embargoed or synthesis.chosen is None:
        return said
    estimate, lower, upper = synthesis.back_transformed
    return {
        **said,
        "measure": synthesis.measure,
        "estimate": estimate,
        "lower": lower,
        "upper": upper,
    }


def _fitted(model: FittedModel) -> dict[str, Any]:
    return {
        "question": model.study.question,
        "sites": [site.name for site in model.sites],
        "digest": model.digest.hex(),
        "state": model.state,
        "coefficients": dict(zip(model.names, model.to_dict()["estimate"], strict=True)),
    }


def _activity(site: SiteLoop) -> tuple[int, int]:
    return site.statistics.received, site.statistics.synthesised
