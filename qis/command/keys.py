"""`keygen` and `roster`: who signs, and who is believed."""

import argparse
from datetime import UTC, datetime

from qis.command._adding import Commands, add
from qis.command.result import CommandResult
from qis.errors import InputError
from qis.evidence import RosterFile, SiteKey, sign_roster
from qis.identity import Identity


def add_to(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands of this module."""
    parser = add(commands, common, "keygen", keygen)
    parser.add_argument("file", metavar="KEY.pem", help="the file to make; never overwritten")
    parser = add(commands, common, "roster", roster)
    parser.add_argument("action", choices=("show", "sign"))
    parser.add_argument("file", metavar="ROSTER.toml")
    parser.add_argument("--key", help="the coordinator's key, to sign with")


def keygen(options: argparse.Namespace) -> CommandResult:
    """Make a site's signing key (mode 0600), and show the issuer that a roster needs."""
    identity = Identity.generate()
    identity.save(options.file)
    return CommandResult(
        text=f"{options.file}\nissuer: {identity.issuer}\nBack it up; whoever has it is the site.",
        values={"file": options.file, "issuer": str(identity.issuer)},
    )


def roster(options: argparse.Namespace) -> CommandResult:
    """Show who is on a roster, or add a coordinator's signature to it."""
    # Without a memory: only a site's own run decides which version is the newest that it believes.
    file = RosterFile(options.file, memory=False)
    if options.action == "sign":
        if not options.key:
            raise InputError("--key is missing: the coordinator's key file", field="key")
        sign_roster(options.file, Identity.load(options.key))
    sites = [
        {
            "name": site.name,
            "keys": [
                {
                    "issuer": str(key.issuer),
                    "valid_from": key.valid_from,
                    "valid_until": key.valid_until,
                    "revoked": key.revoked,
                }
                for key in site.keys
            ],
        }
        for site in file.roster.sites
    ]
    lines = [f"version {file.version}, {len(sites)} sites, digest {file.roster.digest.hex()[:16]}"]
    for site in file.roster.sites:
        lines += [f"{site.name}: {_said(key)}" for key in site.keys]
    if options.action == "sign":
        lines.append("signed; the signature lies beside the file")
    return CommandResult(
        text="\n".join(lines),
        values={"version": file.version, "digest": file.roster.digest.hex(), "sites": sites},
    )


def _said(key: SiteKey) -> str:
    bounds = [
        f"{word} {datetime.fromtimestamp(limit, UTC):%Y-%m-%d %H:%M} UTC"
        for word, limit in (("from", key.valid_from), ("until", key.valid_until))
        if limit is not None
    ]
    return ", ".join([str(key.issuer), *bounds, *["REVOKED"] * key.revoked])
