"""`site`: look at a site, decide what may leave it, and run it, from its ``site.toml``."""

import argparse
import asyncio
import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any, Final

from qis.command import site_run
from qis.command._adding import Commands, add
from qis.command._opened import opened
from qis.command.result import CommandResult
from qis.errors import InputError
from qis.health import HealthState
from qis.loop import Pending
from qis.site import rounds
from qis.site.answering import ask
from qis.site.exit_codes import ExitCode
from qis.site.opening import FILE_KEYS, TABLES, SiteLoop
from qis.site.schema import site_schema
from qis.site.table import read

_LEAST_S, _MOST_S = 0.05, 600.0
"""Limits of --within."""
_QUIET_S: Final = 0.5
"""Once nothing has come for so long, what the network had for the site is there."""


def add_to(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands of this module."""
    whole = commands.add_parser(
        "site", help="look at a site, decide what may leave it, run it", description=__doc__
    )
    inner = whole.add_subparsers(dest="action", metavar="ACTION", required=True)
    add(inner, common, "schema", schema)
    for run in (check, waiting, approve, reject, report, metrics, health, site_run.run):
        parser = add(inner, common, run.__name__, run)
        parser.add_argument("site", metavar="SITE.toml")
        if run in (approve, reject):
            parser.add_argument("id", metavar="ID", help="as `site waiting` shows it")
            parser.add_argument("--approver", help="who decides; default: this account's name")
        if run is approve:
            parser.add_argument("--yes", action="store_true", help="the preview was read before")
        if run is reject:
            parser.add_argument("--reason", required=True, help="goes into the audit log")
        if run is report:
            parser.add_argument("file", metavar="REPORT.html", help="or .txt; - prints the text")
        if run is metrics:
            parser.add_argument("file", metavar="FILE.prom", help="- prints them")
        if run is health:
            parser.add_argument(
                "--within", type=float, default=5.0, metavar="S",
                help="seconds that the site has for its answer (%(default)s)",
            )  # fmt: skip
        if run is site_run.run:
            site_run.add_options(parser)


def schema(_: argparse.Namespace) -> CommandResult:
    """Print the JSON schema of site.toml, with which editors complete and check it."""
    found = site_schema()
    return CommandResult(text=json.dumps(found, indent=1, ensure_ascii=False), values=found)


def check(options: argparse.Namespace) -> CommandResult:
    """Open a site, and say what is wrong with its account, its health and its deliveries."""

    async def act(site: SiteLoop) -> CommandResult:
        findings, health, undelivered = site.check(), site.health, site.undelivered()
        lines = [f"health: {health}", *(f"{each.code}: {each.text}" for each in findings)]
        if findings:
            lines.append("Nothing leaves until a person has settled this (docs/operating.md).")
        lines += [f"not delivered: {each.packet!r}: {each.reason}" for each in undelivered]
        lines.append(f"{len(site.waiting())} outcomes wait for approval")
        return CommandResult(
            text="\n".join(lines),
            values={
                "health": health.state.value,
                "reasons": [{"code": each.code, "text": each.text} for each in health.reasons],
                "findings": [{"code": each.code, "text": each.text} for each in findings],
                "undelivered": [
                    {"packet": each.packet.id.hex(), "since": each.since, "why": each.reason}
                    for each in undelivered
                ],
                "waiting": [each.id for each in site.waiting()],
            },
            code=ExitCode.DAMAGED if findings else ExitCode.OK,
        )

    return opened(options, act)


def waiting(options: argparse.Namespace) -> CommandResult:
    """Show what waits for approval, each with what an outsider could learn from it."""

    async def act(site: SiteLoop) -> CommandResult:
        found = site.waiting()
        return CommandResult(
            text="\n\n".join(map(str, found)) or "nothing waits",
            values={"waiting": [_values(each) for each in found]},
        )

    return opened(options, act)


def approve(options: argparse.Namespace) -> CommandResult:
    """Show what waits under an id, ask, and let it leave. The disclosure rules are asked again."""

    async def act(site: SiteLoop) -> CommandResult:
        pending = _pending(site, options.id)
        sys.stderr.write(f"{pending}\n\n")
        if not options.yes and not await asyncio.to_thread(_agreed, pending.id):
            return CommandResult(
                text="not released; it still waits",
                values={"released": False, "id": pending.id},
                code=ExitCode.KEPT_BACK,
            )
        packet = await site.release(pending.id, approver=_approver(options))
        is_sent = await site.flush(rounds.DELIVERY_S)
        fate = "delivered" if is_sent else "not delivered yet; the next run goes on with it"
        return CommandResult(
            text=f"released as packet {packet.id.hex()}: {fate}",
            values={"released": True, "packet": packet.id.hex(), "sent": is_sent},
            code=ExitCode.OK if is_sent else ExitCode.LATER,
        )

    return opened(options, act, is_watched=False)


def reject(options: argparse.Namespace) -> CommandResult:
    """Drop what waits under an id, so that it never leaves; the audit log gets the reason."""

    async def act(site: SiteLoop) -> CommandResult:
        await site.reject(options.id, approver=_approver(options), reason=options.reason)
        return CommandResult(text=f"{options.id} is rejected", values={"rejected": options.id})

    return opened(options, act)


def report(options: argparse.Namespace) -> CommandResult:
    """Write what this site has published, received and concluded, as a page for its people."""

    async def act(site: SiteLoop) -> CommandResult:
        await rounds.quiet(site, _QUIET_S)
        if options.file == "-":
            return CommandResult(text=site.report_text(), values={"report": site.report_text()})
        site.report(options.file)
        return CommandResult(text=f"written: {options.file}", values={"report": options.file})

    return opened(options, act)


def metrics(options: argparse.Namespace) -> CommandResult:
    """Write counters and health as OpenMetrics text, as node_exporter reads it from files."""

    async def act(site: SiteLoop) -> CommandResult:
        await rounds.quiet(site, _QUIET_S)
        if options.file == "-":
            return CommandResult(text=site.metrics().rstrip(), values={"metrics": site.metrics()})
        site.write_metrics(options.file)
        return CommandResult(text=f"written: {options.file}", values={"metrics": options.file})

    return opened(options, act)


def health(options: argparse.Namespace) -> CommandResult:
    """Ask the process that has a site open how it is; 0 if it answers that it goes on.

    For health checks of containers. The site's file says where: `[files] health = "health.sock"`.
    """
    if not _LEAST_S <= options.within <= _MOST_S:
        raise InputError(
            f"--within is {options.within:g}; it is from {_LEAST_S:g} to {_MOST_S:g} seconds",
            field="within",
        )
    names = read(Path(options.site), TABLES).table("files", FILE_KEYS)
    if "health" not in names:
        raise names.complaint(
            "health", 'is missing: say where the open site answers, as health = "health.sock"'
        )
    said = ask(names.path("health"), within_s=options.within)
    texts = [str(each["text"]) for each in said["reasons"]]
    goes_on = said["state"] in (HealthState.OK.value, HealthState.DEGRADED.value)
    return CommandResult(
        text="\n".join([f"health: {said['state']}", *texts]),
        values=said,
        code=ExitCode.OK if goes_on else ExitCode.LATER,
    )


def _pending(site: SiteLoop, name: str) -> Pending:
    found = next((each for each in site.waiting() if each.id == name), None)
    if found is None:
        known = ", ".join(each.id for each in site.waiting()) or "nothing"
        raise InputError(f"nothing waits under {name!r:.40}; what waits: {known}", field="id")
    return found


def _agreed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise InputError(
            "there is no terminal to ask at: read what `site waiting` shows, then say --yes",
            field="yes",
        )
    sys.stderr.write(f"Let {name} leave? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in {"y", "yes"}


def _approver(options: argparse.Namespace) -> str:
    if options.approver:
        return str(options.approver)
    try:
        # Of the system, not of the environment, where anybody can write another name.
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container knows numbers only
        return f"uid {os.getuid()}"


def _values(pending: Pending) -> dict[str, Any]:
    return {
        "id": pending.id,
        "question": pending.outcome.question,
        "submitted_at": pending.created_at,
        "explain": pending.explain,
        "preview": pending.preview,
    }
