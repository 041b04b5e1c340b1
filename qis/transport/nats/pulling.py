"""Requests for messages, made here and not by nats-py.

Its fetch leaves requests behind that swallow messages, and does not survive a restart of the
server.
"""

import json
from typing import Any, Final

from qis.transport.nats.connection import Connection
from qis.transport.nats.consumer import EXPIRES_S

BATCH: Final = 256
"""Messages that one pull request asks for."""
HEARTBEAT_S: Final = EXPIRES_S / 3.0


class Pulling:
    """The pull requests of one reader over one connection.

    Parameters
    ----------
    connection, subject
        How to reach the server, and where it is asked for messages.
    now_s
        The event loop's time, which nobody sets.

    """

    def __init__(self, connection: Connection, subject: str, now_s: float) -> None:
        self._connection = connection
        self._subject = subject
        self._heard_s = now_s
        self.inbox = connection.new_inbox()
        """Where the server sends messages, and what it says to requests."""
        self.asked = 0
        """Messages that were asked for and have not come."""
        self.is_gone = False
        """True if the server has no such consumer any more."""
        self.refusal = ""
        """Why the server would refuse the next request too, in words; empty: it does not."""

    def heard(self, message: Any, now_s: float) -> bool:
        """Note what has come to the inbox; true if it is a message of the stream."""
        self._heard_s = now_s
        headers = message.headers or {}
        status = headers.get("Status")
        if status is None:
            self.asked = max(0, self.asked - 1)
            return True
        if status != "100":  # a request is over
            unanswered = headers.get("Nats-Pending-Messages", "")
            self.asked -= int(unanswered) if unanswered.isdecimal() else self.asked
            self.asked = max(0, self.asked)
            # 503: no such consumer; 409 when it is deleted. Others end with the request.
            said = headers.get("Description", "")
            self.is_gone |= status == "503" or "Deleted" in said
            if status == "400" or "Exceeded" in said:
                self.refusal = f"the server refuses to be read: {said}"
        return False

    async def ask(self, room: int, now_s: float) -> None:
        """Ask for as many messages as there is room for, if that is worth a request."""
        if self.asked and now_s - self._heard_s > 2.0 * HEARTBEAT_S + 1.0:
            self.asked = 0  # the server has forgotten the request
        room -= self.asked
        if self.asked > BATCH // 2 or room < BATCH // 2:
            return
        wanted = min(BATCH, room)
        request = {
            "batch": wanted,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        if not self.asked:
            self._heard_s = now_s
        self.asked += wanted
        await self._connection.post(self._subject, json.dumps(request).encode("ascii"), self.inbox)
