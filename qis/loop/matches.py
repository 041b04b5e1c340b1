"""Records that came in: what sites share beside evidence, in the order in which it arrived."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from qis._gate import checked
from qis.health import Notices
from qis.outcomes import Record
from qis.packet import Packet
from qis.picture.html import HasTable

MAX_MATCHES: Final = 1_000
"""Most records that wait to be read; the oldest goes first, which is told as the event `limit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match(HasTable):
    """A record that another site published and that meets one of the loop's interests.

    Parameters
    ----------
    packet
        The packet, signed and verified.
    record
        Its outcome.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> record = qis.Record(question="a vs b | c", content={"seen": 4})
    >>> from qis.loop import Match
    >>> Match(packet=packet, record=record).record.content["seen"]
    4

    """

    packet: Packet
    record: Record

    @checked
    def reply(self, content: Mapping[str, Any], *, cohort: str = "") -> Record:
        """A record under the study of the match, to be published as any other outcome.

        It reaches whoever watches that study, and whoever it is similar to: the asker is not
        addressed, and the reply is no secret between two.

        Raises
        ------
        InputError
            If the content is none that a `Record` may have.

        """
        return Record(
            study_id=self.record.study_id,
            question=self.record.question,
            cohort=cohort,
            content=content,
        )


class Matches:
    """Keeps what came in until it is read, with a bound.

    Parameters
    ----------
    notices
        Tells what was dropped unread.

    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._kept: deque[tuple[int, Match]] = deque()
        self._last = self._read = 0
        self._changed = asyncio.Event()

    def add(self, packet: Packet) -> None:
        """Keep a packet that the store has kept, if it carries a record."""
        if not isinstance(packet.outcome, Record):
            return
        self._last += 1
        self._kept.append((self._last, Match(packet=packet, record=packet.outcome)))
        if len(self._kept) > MAX_MATCHES:
            number, lost = self._kept.popleft()
            if number > self._read:
                text = f"a record was dropped unread: {MAX_MATCHES} newer ones wait in matches()"
                self._notices.tell("limit", f"matches: {lost.packet.issuer}", text)
        self.wake()

    def since(self, number: int) -> list[tuple[int, Match]]:
        """What came after that number, in order, and is kept still."""
        fresh = [found for found in self._kept if found[0] > number]
        self._read = max(self._read, fresh[-1][0] if fresh else 0)
        return fresh

    async def changed(self) -> None:
        """Wait for the next record, or for the end of the loop."""
        await self._changed.wait()

    def wake(self) -> None:
        """Wake all who wait; who comes later looks first."""
        self._changed.set()
        self._changed = asyncio.Event()
