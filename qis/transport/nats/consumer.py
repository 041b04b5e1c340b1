"""The server's side of a subscription: a durable consumer, whose it is, where it goes on."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Final

from qis.errors import TransportError
from qis.packet import CLOCK_TOLERANCE_S
from qis.transport.nats.connection import Connection

EXPIRES_S: Final = 10.0
"""Seconds for which a pull request waits at the server."""
ACK_WAIT_S: Final = 60.0
"""Seconds after which the server gives a message again that nobody has answered."""
PENDING_LIMIT: Final = 8_192
"""Messages without an acknowledgement, those put off included, above which the server waits."""
FORGOTTEN_S: Final = 180 * 86_400.0
"""Seconds without a reader after which the server forgets where a name ended: all comes again."""
UNNAMED_S: Final = 3_600.0
LOOK_S: Final = 1.0
_NOT_FOUND: Final = 10014
_EXISTS: Final = {10105, 10148}
"""Another reader has made it in between."""
_READER, _INSTANCE, _LATEST = "qis_reader", "qis_instance", "qis_latest"


class NameTakenError(TransportError):
    """Another loop reads under this name; each of the two misses what the other one gets."""


class Consumer:
    """A durable pull consumer.

    Parameters
    ----------
    connection
        How to reach the server.
    api
        Prefix of the JetStream API, ``$JS.API``.
    stream, name
        The stream, and what the consumer is called there.
    token
        Names interest, roster and store: while it is the same, the consumer goes on where it ended.
    subjects
        What it reads.
    is_named
        False: the server forgets it an hour after it was left.

    """

    def __init__(
        self,
        connection: Connection,
        *,
        api: str,
        stream: str,
        name: str,
        token: str,
        subjects: Sequence[str],
        is_named: bool,
    ) -> None:
        self._connection = connection
        self._api = api
        self._stream = stream
        self.name = name
        self.token = token
        self._subjects = list(subjects)
        self._is_named = is_named
        self._instance = secrets.token_hex(8)
        self._is_mine = False

    @property
    def next_subject(self) -> str:
        """Where to ask for messages."""
        return f"{self._api}.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"

    async def prepare(self, now: float) -> None:
        """Go on where the consumer ended, or make it.

        Parameters
        ----------
        now
            Unix seconds. If they were later the last time, this machine's date was wrong then, and
            what was refused as expired is read again.

        Raises
        ------
        NameTakenError
            If somebody else reads under this name.
        TransportError
            If the server refuses or does not answer.

        """
        found = await self._info()
        if found is None:
            await self._create(now, "create")
            return
        await self._require_free(found)
        metadata = found["config"].get("metadata") or {}
        latest = metadata.get(_LATEST, "")
        was_later = latest.isdecimal() and int(latest) > now + CLOCK_TOLERANCE_S
        if metadata.get(_READER) != self.token or was_later:
            await self.begin_anew(now)
        else:
            await self._create(now, "update")

    async def begin_anew(self, now: float) -> None:
        """Delete the consumer and make it again, so that it gives all that the stream holds."""
        await self._ask("DELETE", None, missing_is_error=False)
        await self._create(now, "create")

    async def has_unread(self) -> bool:
        """Ask whether the server has something that it has not given to the reader yet."""
        found = await self._info()
        return found is None or bool(found.get("num_pending", 0))

    async def check(self, now: float) -> None:
        """See whether it is still this reader's, and note the date.

        Raises
        ------
        NameTakenError
            If somebody else has taken it.

        """
        found = await self._info()
        if found is None:
            raise TransportError("the server has forgotten the reader")
        owner = (found["config"].get("metadata") or {}).get(_INSTANCE)
        if owner != self._instance:
            raise NameTakenError(self._taken())
        await self._create(now, "update")

    async def _require_free(self, found: dict[str, Any]) -> None:
        metadata = found["config"].get("metadata") or {}
        if self._is_mine and metadata.get(_INSTANCE) != self._instance:
            raise NameTakenError(self._taken())
        # Requests of a reader that has died wait at the server until they expire.
        looks = 0 if self._is_mine else int(EXPIRES_S / LOOK_S) + 2
        for _ in range(looks):
            if not found.get("num_waiting", 0):
                return
            await asyncio.sleep(LOOK_S)
            again = await self._info()
            if again is None:
                return
            found = again
        if looks:
            raise NameTakenError(self._taken())

    def _taken(self) -> str:
        return (
            "another loop reads with this site's key under the same name, so that each of the two "
            "misses what the other one gets: end one of them, or give the key to one site only"
        )

    async def _info(self) -> dict[str, Any] | None:
        return await self._ask("INFO", None, missing_is_error=False)

    async def _create(self, now: float, action: str) -> None:
        config: dict[str, Any] = {
            "name": self.name,
            "durable_name": self.name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT_S * 1e9),
            "max_deliver": -1,
            "max_ack_pending": PENDING_LIMIT,
            "replay_policy": "instant",
            "inactive_threshold": int((FORGOTTEN_S if self._is_named else UNNAMED_S) * 1e9),
            "metadata": {
                _READER: self.token,
                _INSTANCE: self._instance,
                _LATEST: str(int(now)),
            },
        }
        tail = ""
        if len(self._subjects) == 1:
            config["filter_subject"] = self._subjects[0]
            tail = f".{self._subjects[0]}"
        else:
            config["filter_subjects"] = self._subjects
        content = {"stream_name": self._stream, "config": config, "action": action}
        await self._ask("CREATE", content, tail=tail)
        self._is_mine = True

    async def _ask(
        self,
        verb: str,
        content: dict[str, Any] | None,
        *,
        tail: str = "",
        missing_is_error: bool = True,
    ) -> dict[str, Any] | None:
        subject = f"{self._api}.CONSUMER.{verb}.{self._stream}.{self.name}{tail}"
        answer: dict[str, Any] = await self._connection.ask_api(subject, content)
        error = answer.get("error")
        if error is None:
            return answer
        if error.get("err_code") == _NOT_FOUND and not missing_is_error:
            return None
        if error.get("err_code") in _EXISTS:
            raise NameTakenError(self._taken())
        raise TransportError(f"the server refuses a reader: {error.get('description', error)}")
