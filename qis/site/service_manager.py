"""Tells systemd how a site that stays open is: ready, alive, stopping (sd_notify(3)).

A process that hangs stops saying that it is alive, and is started again: no age of a file can show
that. Without ``NOTIFY_SOCKET`` in the environment nothing is said.
"""

import logging
import os
import socket
from typing import Final

_log = logging.getLogger("qis.site")
_ADDRESS: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"


def tell(*lines: str) -> bool:
    """Send lines such as ``READY=1``; true if somebody listens."""
    address = os.environ.get(_ADDRESS, "")
    if not address:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            # An abstract socket, which is in no folder, is written with an @.
            channel.sendto(
                "\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address
            )
    except OSError as error:
        _log.warning("the service manager does not hear: %s", error)
        return False
    return True


def status(text: str) -> str:
    """The line that `systemctl status` shows; of several lines the first."""
    return f"STATUS={(text.splitlines() or [''])[0]}"


def watchdog_s() -> float | None:
    """Seconds after which systemd has to have heard ``WATCHDOG=1``; `None`: it does not listen."""
    text = os.environ.get(_WATCHDOG, "")
    return int(text) / 1e6 if text.isdecimal() and int(text) > 0 else None
