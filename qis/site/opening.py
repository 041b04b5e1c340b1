"""Opens all parts of a site that a TOML file describes, and closes them with its loop."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from qis._files import PRIVATE, SHARED, replace
from qis._gate import checked
from qis._paths import file_path, opening
from qis.errors import QISError
from qis.evidence import AuditLog, Roster, RosterFile, SQLiteStore
from qis.health import HealthState
from qis.loop import Outbox, SynthesisLoop
from qis.models import FittedModel
from qis.site import parts
from qis.site.answering import answering, listening
from qis.site.document import Document
from qis.site.metrics import metrics_of
from qis.site.report import SiteFacts, report_of
from qis.site.table import TomlTable, read
from qis.transport import Transport

TABLES: Final = (
    *("studies", "identity", "roster", "scheme", "interest", "transport", "disclosure"),
    *("files", "loop"),
)
FILES: Final = {
    "evidence": "evidence.db",
    "outbox": "outbox.db",
    "audit": "audit.jsonl",
    "releases": "releases.jsonl",
}
FILE_KEYS: Final = (*FILES, "heads", "health")
"""Every key that `[files]` may have; the last two have no default."""
_RELEASES: Final = "releases.db"
"""Default of a site that has no file of lines from a former version. It is taken over into the
outbox, and then shows a later key where the record of releases is."""
LOOP_KEYS: Final = ("approval", "lifetime_days", "republish", "monitor", "debounce_s", "model")
APPROVALS: Final = {"manual": "manual", "none": None}
_ROSTER_LOOK_S: Final = 10.0
"""Seconds between two looks at the roster's file."""

_log = logging.getLogger("qis.site")


@checked
def open_site(
    path: str | PathLike[str],
    *,
    transport: Transport | None = None,
    clock: Callable[[], float] = time.time,
    **options: Any,
) -> "SiteLoop":
    """Make the loop that a TOML file describes (docs/embedding.md). Use it in ``async with``.

    Everything is on disk: evidence, outbox, audit log and the record of releases, beside the file
    unless it says otherwise. What is published waits until a person or a rule releases it, unless
    the file says ``approval = "none"``. The roster is read again when its file changes. All that
    was opened here is closed with the loop.

    Parameters
    ----------
    path
        The file. Relative paths in it are relative to its folder.
    transport
        A transport to use instead of the file's.
    clock
        Gives Unix seconds.
    options
        Further arguments of `qis.SynthesisLoop`, such as `distil`, `on_event` or a rule for
        `approve`; they take precedence over the file's.

    Raises
    ------
    ConfigurationError
        If the file, or what it names, is missing or wrong; the message names file, table and key.
    KeyFileError
        If the key or a secret cannot be used.
    StorageError
        If a file cannot be opened, or another process has it open.

    Examples
    --------
    >>> import asyncio, pathlib, tempfile, qis
    >>> folder = tempfile.TemporaryDirectory()
    >>> home, key = pathlib.Path(folder.name), qis.Identity.generate()
    >>> key.save(home / "key.pem")
    >>> files = {
    ...     "roster.toml": f'[[site]]#name = "Ulm"#[[site.key]]#issuer = "{key.issuer}"',
    ...     "scheme.secret": "00" * 31 + "01",
    ...     "site.toml": (
    ...         '[identity]#file = "key.pem"#[roster]#file = "roster.toml"#'
    ...         '[scheme]#kind = "vector"#dimensions = 2#secret_file = "scheme.secret"#'
    ...         '[interest]#features = [0.5, -1.0]#people = 0#'
    ...         '[transport]#kind = "directory"#path = "exchange"'
    ...     ),
    ... }
    >>> for name, text in files.items():
    ...     size = (home / name).write_text(text.replace("#", chr(10)))
    >>> (home / "scheme.secret").chmod(0o600)
    >>> async def main() -> str:
    ...     async with qis.open_site(home / "site.toml") as site:
    ...         return site.health.state.value
    >>> asyncio.run(main())
    'ok'
    >>> folder.cleanup()

    """
    site = read(Path(path), TABLES)
    roster = parts.roster_of(site)
    with ExitStack() as files:
        arguments = _arguments(site, roster, transport, clock, files) | options
        names = site.table("files", FILE_KEYS)
        with names.located("health"):  # after the outbox, which one process alone can open
            listener = (
                files.enter_context(listening(names.path("health"))) if "health" in names else None
            )
        return SiteLoop(
            roster=roster if isinstance(roster, RosterFile) else None,
            listener=listener,
            files=files.pop_all(),
            arguments={"clock": clock, **arguments},
        )


def _arguments(
    site: TomlTable,
    roster: Roster | RosterFile,
    transport: Transport | None,
    clock: Callable[[], float],
    files: ExitStack,
) -> dict[str, Any]:
    """Turn the file into arguments of the loop; what is opened for it is closed by `files`."""
    identity = parts.identity_of(site)
    studies = parts.studies_of(site)
    scheme = parts.scheme_of(site)
    interest, people = parts.interest_of(site, scheme, studies)
    believed = roster.roster if isinstance(roster, RosterFile) else roster
    if transport is None:
        transport = parts.transport_of(site, identity, believed)
    names = site.table("files", FILE_KEYS)
    paths = {key: names.path(key, default) for key, default in FILES.items()}
    if "releases" not in names and not paths["releases"].exists():
        paths["releases"] = names.path("releases", _RELEASES)
    with names.located("releases"):
        disclosure = parts.disclosure_of(site, paths["releases"])
    files.callback(disclosure.close)
    options = _loop_options(site.table("loop", LOOP_KEYS))
    with names.located("evidence"):
        store = files.enter_context(closing(SQLiteStore(paths["evidence"], roster=believed)))
    with names.located("outbox"):
        outbox = files.enter_context(Outbox(paths["outbox"]))
    with names.located("audit"):
        heads = names.path("heads") if "heads" in names else None
        audit = files.enter_context(AuditLog.open(paths["audit"], now=clock(), heads=heads))
    return {
        "identity": identity,
        "transport": transport,
        "scheme": scheme,
        "interest": interest,
        "interest_people": people,
        "studies": studies,
        "store": store,
        "outbox": outbox,
        "audit": audit,
        "disclosure": disclosure,
        **options,
    }


def _loop_options(table: TomlTable) -> dict[str, Any]:
    options: dict[str, Any] = {
        "approve": APPROVALS[table.choice("approval", APPROVALS, "manual")],
        "lifetime_s": table.whole("lifetime_days", 30) * 86_400,
        "republish": table.flag("republish", default=False),
        "monitor": table.flag("monitor", default=False),
        "debounce_s": table.real("debounce_s", 0.0),
    }
    if "model" in table:
        options["model"] = table.choice("model", ("fixed", "random"))
    if not 0 < options["lifetime_s"] <= 400 * 86_400:
        raise table.complaint("lifetime_days", "is from 1 to 400")
    return options


class SiteLoop(SynthesisLoop):
    """A `qis.SynthesisLoop` that owns its files and follows its roster; made by `open_site`.

    Parameters
    ----------
    roster
        The roster's file to follow, if there is one.
    files
        Closes the site's files; called when the loop closes.
    arguments
        The arguments of `qis.SynthesisLoop`.
    listener
        A bound socket on which to answer how the site is, if there is one.

    Examples
    --------
    >>> import asyncio, pathlib, tempfile, qis
    >>> async def look(home: pathlib.Path) -> str:
    ...     async with qis.open_site(home / "site.toml") as site:
    ...         site.report(home / "report.html")
    ...         return site.metrics().splitlines()[-1]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     home = pathlib.Path(folder)
    ...     qis.Identity.generate().save(home / "key.pem")
    ...     size = (home / "site.toml").write_text('''
    ... [identity]
    ... file = "key.pem"
    ... [roster]
    ... open = true
    ... [scheme]
    ... kind = "set"
    ... [interest]
    ... features = ["heart failure"]
    ... people = 0
    ... [transport]
    ... kind = "directory"
    ... path = "exchange"
    ... [disclosure]
    ... allow_unkeyed = true
    ... ''')
    ...     print(asyncio.run(look(home)), (home / "report.html").exists())
    # EOF True

    """

    def __init__(
        self,
        *,
        roster: RosterFile | None,
        files: ExitStack,
        arguments: dict[str, Any],
        listener: socket.socket | None = None,
    ) -> None:
        self._files = files
        self._listener = listener
        self._server: asyncio.Server | None = None
        try:
            super().__init__(**arguments)
        except BaseException:
            files.close()
            raise
        self._roster_file = roster
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await super().__aenter__()
        except BaseException:
            self._files.close()
            raise
        if self._listener is not None:
            self._server = await answering(self._listener, lambda: self.health)
        if self._roster_file is not None:
            self._following = asyncio.create_task(self._follow(self._roster_file))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
            self._following = None
        if self._server is not None:
            self._server.close()
        with self._files:
            await super().__aexit__(kind, error, trace)

    def metrics(self) -> str:
        """Counters and health as OpenMetrics text (docs/operating.md lists the names)."""
        # Of a loop that is closed nothing is known here; what waits is in the outbox's file.
        is_open = self.health.state is not HealthState.CLOSED
        newest = map(self.latest, self._options.studies) if is_open else ()
        return metrics_of(
            self.statistics,
            self._options.transport.statistics,
            self.health,
            undelivered=len(self.undelivered()) if is_open else 0,
            models=[each for each in newest if isinstance(each, FittedModel)],
        )

    @checked
    def write_metrics(self, path: str | PathLike[str]) -> None:
        """Write `metrics` to a file, whole or not at all, as node_exporter's textfile wants it.

        Raises
        ------
        StorageError
            If it cannot be written.

        """
        with opening(path, "write"):
            replace(file_path(path), self.metrics().encode(), mode=SHARED)

    @checked
    def report(self, path: str | PathLike[str]) -> None:
        """Write what this site has published, received, refused and concluded, for its people.

        One file that opens offline, mode 0600: it shows what waits for approval, so it belongs
        inside. A name that ends with ``.txt`` gets plain text, any other HTML.

        Raises
        ------
        InputError
            If the site is not open.
        StorageError
            If the file cannot be written, or a file of the site cannot be read.

        """
        is_text = file_path(path).suffix == ".txt"
        content = f"{self.report_text()}\n" if is_text else self._report().html()
        with opening(path, "write"):
            replace(file_path(path), content.encode(), mode=PRIVATE)

    def report_text(self) -> str:
        """The text that `report` writes into a file whose name ends with ``.txt``."""
        return self._report().text()

    def _report(self) -> Document:
        options = self._options
        studies = [*options.store.studies(), *options.studies]
        newest = {study: self.latest(study) for study in studies}
        return report_of(
            SiteFacts(
                issuer=options.identity.issuer,
                now=options.clock(),
                health=self.health,
                findings=self.check(),
                waiting=self.waiting(),
                undelivered=self.undelivered(),
                store=options.store,
                results={study: each for study, each in newest.items() if each is not None},
                audit=options.audit,
            )
        )

    def look_at_roster(self) -> bool:
        """Read the roster's file again if it has changed; true if another roster is used now.

        One that cannot be read, or lacks a required signature, changes nothing and is told: as an
        event, and in `health` until a good one is there.
        """
        if self._roster_file is None:
            return False
        now, why = self._options.clock(), "reading it failed; see the event 'fault'"
        changed = False
        with self._announcer.guard.item("site.roster"):
            try:
                changed = self._roster_file.refresh()
                if changed:
                    self.believe(self._roster_file.roster)
                why = ""
            except QISError as error:
                why = str(error)
        if why:
            text = f"the roster stays as it was: {why}"
            self._condition.set("roster", HealthState.DEGRADED, text, now=now)
        else:
            self._condition.clear("roster", now=now)
        return changed

    async def _follow(self, roster: RosterFile) -> None:
        while True:
            await asyncio.sleep(_ROSTER_LOOK_S)
            with self._announcer.guard.item("site.following"):
                if self.look_at_roster():
                    _log.info("the roster is %s now", roster.roster.digest.hex()[:16])
