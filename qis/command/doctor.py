"""`doctor`: why a site does not do what it should, as far as this machine shows it."""

import argparse
import asyncio

from qis.command._adding import Commands, add
from qis.command.progress import watched
from qis.command.result import CommandResult
from qis.site.doctor import examine
from qis.site.doctor_network import examine_network
from qis.site.exit_codes import ExitCode
from qis.site.finding import SiteFinding


def add_to(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command of this module."""
    parser = add(commands, common, "doctor", doctor)
    parser.add_argument("site", metavar="SITE.toml")
    parser.add_argument(
        "--files", action="store_true", help="look at files only, and at no other machine"
    )


def doctor(options: argparse.Namespace) -> CommandResult:
    """Examine a site's files, key, roster, clock, account and network. Nothing is published."""
    findings = examine(options.site)
    if not options.files:
        findings += asyncio.run(_network(options))
    wrong = [each for each in findings if each.is_wrong]
    lines = [str(each) for each in findings]
    lines.append(f"{len(wrong)} of {len(findings)} findings need somebody")
    return CommandResult(
        text="\n".join(lines),
        values={
            "findings": [
                {"code": each.code, "is_wrong": each.is_wrong, "text": each.text}
                for each in findings
            ],
            "wrong": len(wrong),
        },
        code=next((each.exit_code for each in wrong), ExitCode.OK),
    )


async def _network(options: argparse.Namespace) -> tuple[SiteFinding, ...]:
    async with watched(lambda: "looking at the network, which takes up to half a minute"):
        return await examine_network(options.site)
