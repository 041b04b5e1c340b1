"""`site run`: take in, send and synthesise, once or until told to end."""

import argparse
import asyncio
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from qis.command._opened import opened
from qis.command.result import CommandResult
from qis.errors import InputError
from qis.site import rounds
from qis.site.exit_codes import ExitCode
from qis.site.logs import JSONLines
from qis.site.opening import SiteLoop

_LEAST_S: Final = 0.05


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `site run`."""
    parser.add_argument(
        "--quiet", type=float, default=3.0, metavar="S",
        help="end once nothing new has come for so many seconds (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--serve", action="store_true", help="stay open until SIGTERM or SIGINT")
    parser.add_argument(
        "--every", type=float, default=60.0, metavar="S",
        help="with --serve, seconds between two rounds (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--report", metavar="FILE", help="write the report at the end of each round"
    )
    parser.add_argument("--metrics", metavar="FILE", help="write the metrics likewise")
    parser.add_argument("--log", choices=("text", "json"), help="log to standard error")


def run(options: argparse.Namespace) -> CommandResult:
    """Open a site, send what waits, take in what has come, and synthesise it; distil nothing."""
    for name in ("quiet", "every"):
        if not _LEAST_S <= getattr(options, name) <= rounds.LONGEST_S:
            raise InputError(
                f"--{name} is {getattr(options, name):g}; it is from {_LEAST_S:g} to "
                f"{rounds.LONGEST_S:g} seconds",
                field=name,
            )

    async def act(site: SiteLoop) -> CommandResult:
        def write() -> None:
            if options.report:
                site.report(options.report)
            if options.metrics:
                site.write_metrics(options.metrics)

        if options.serve:
            state = await rounds.until(_told(), site, every_s=options.every, on_round=write)
        else:
            state = await rounds.once(site, quiet_s=options.quiet)
            write()
        code = ExitCode.OK if state["sent"] else ExitCode.LATER
        return CommandResult(
            text=json.dumps(state, ensure_ascii=False, indent=1),
            values=state,
            code=ExitCode.DAMAGED if state["account"] else code,
        )

    with _logging(options):
        return opened(options, act, is_watched=not (options.serve or options.log))


def _told() -> asyncio.Event:
    """An event that is set when the process is asked to end."""
    stop = asyncio.Event()
    events = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # not on Windows: Ctrl-C raises there
            events.add_signal_handler(number, stop.set)
    return stop


@contextmanager
def _logging(options: argparse.Namespace) -> Iterator[None]:
    """Log to standard error, if that is asked for, until the command ends."""
    kind = getattr(options, "log", None)
    if kind is None:
        yield
        return
    handler = logging.StreamHandler()
    said = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    name = Path(options.site).resolve().parent.name
    handler.setFormatter(JSONLines(name) if kind == "json" else logging.Formatter(said))
    log = logging.getLogger("qis")
    former = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(former)
        log.removeHandler(handler)
