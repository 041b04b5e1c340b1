"""`keygen` and `roster`: who signs, and who is believed."""

import argparse
import secrets
import string
from datetime import UTC, datetime
from pathlib import Path

from qis._paths import opening
from qis._toml import toml_of
from qis.command._adding import Commands, add
from qis.command.result import CommandResult
from qis.errors import InputError
from qis.evidence import Roster, RosterFile, Site, SiteKey, sign_roster
from qis.evidence.roster import NODE_SALT_SIZE
from qis.identity import KEY_SIZE, Identity, Issuer


def add_to(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands of this module."""
    parser = add(commands, common, "keygen", keygen)
    parser.add_argument("file", metavar="KEY.pem", help="the file to make; never overwritten")
    parser = add(commands, common, "roster", roster)
    parser.add_argument("action", choices=("new", "show", "sign"))
    parser.add_argument("file", metavar="ROSTER.toml")
    parser.add_argument("--key", help="the coordinator's key, to sign with")
    parser.add_argument(
        "--site", action="append", default=[], metavar="NAME=ISSUER",
        help="of a new roster: a site and the issuer that `keygen` has shown",
    )  # fmt: skip


def keygen(options: argparse.Namespace) -> CommandResult:
    """Make a site's signing key (mode 0600), and show the issuer that a roster needs."""
    identity = Identity.generate()
    identity.save(options.file)
    return CommandResult(
        text=f"{options.file}\nissuer: {identity.issuer}\nBack it up; whoever has it is the site.",
        values={"file": options.file, "issuer": str(identity.issuer)},
    )


def roster(options: argparse.Namespace) -> CommandResult:
    """Show who is on a roster, make a new one, or add a coordinator's signature to it."""
    if options.action == "new":
        _write_new(options.file, options.site)
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


def _write_new(path: str, given: list[str]) -> None:
    sites = []
    for each in given:
        name, sign, issuer = each.rpartition("=")
        if not sign or len(issuer) != 2 * KEY_SIZE or set(issuer) - set(string.hexdigits):
            raise InputError(
                f"--site is {each!r:.90}; it is NAME=ISSUER, the issuer {2 * KEY_SIZE} "
                "hexadecimal digits",
                field="site",
                actual=each,
            )
        sites.append(Site.of(name.strip(), Issuer(bytes.fromhex(issuer))))
    if not sites:
        raise InputError("a roster needs a site: --site NAME=ISSUER", field="site")
    listed = Roster(tuple(sites))  # refuses two of one name or key
    tables = (
        f"\n[[site]]\n{toml_of({'name': site.name})}"
        f"\n[[site.key]]\n"
        f"{toml_of({'issuer': str(site.keys[0].issuer), 'node_salt': _drawn()})}"
        for site in listed.sites
    )
    with opening(path, "write"), Path(path).open("x", encoding="utf-8") as file:
        file.write(f"{toml_of({'version': 1})}{''.join(tables)}")


def _drawn() -> str:
    """Where in a keyed network a node lies: not for who made the key to choose."""
    return secrets.token_hex(NODE_SALT_SIZE)


def _said(key: SiteKey) -> str:
    bounds = [
        f"{word} {datetime.fromtimestamp(limit, UTC):%Y-%m-%d %H:%M} UTC"
        for word, limit in (("from", key.valid_from), ("until", key.valid_until))
        if limit is not None
    ]
    return ", ".join([str(key.issuer), *bounds, *["REVOKED"] * key.revoked])
