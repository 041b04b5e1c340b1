"""Repairs the consequences of a wrong clock that has dated own packets too far ahead.

They would supersede everything that the site signs until their date comes. Once it is known which
date is right (the other sites agree, or a person says so), they are set aside here, their files are
removed, and the numbering goes on from the present. Other nodes may still hold them: as soon as the
date of one comes, the site publishes its newest packet with a higher sequence.
"""

import asyncio
from collections.abc import Callable, Container, Iterable
from typing import Final

from qis.errors import AccountError, ClockError, InputError, StorageError, TransportError
from qis.evidence import EvidenceStore
from qis.evidence.rules import KIND_RETRACTION, EvidenceKey, Role, evidence_key
from qis.loop._numbers import limit_at
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.loop.outbox import Aside, Outbox, Own
from qis.loop.sender import Sender
from qis.loop.signing import Signer
from qis.packet import CLOCK_TOLERANCE_S, Packet
from qis.transport import Transport
from qis.transport.site_clocks import span

LOOK_S: Final = 60.0
"""Longest wait until the dates are compared again: somebody may set this machine's date."""
_MARGIN_S: Final = 2.0
"""Seconds added to the date from which others admit a packet, as issue times are whole seconds."""


PublishAgain = Callable[[Own, int], Packet]
"""Publishes the content of a packet once more, above a sequence."""


class Recovery:
    """Sets packets aside, and supersedes them when their date comes.

    Parameters
    ----------
    outbox, signer, store, sender, transport, journal, announcer
        The other parts of the loop.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        outbox: Outbox,
        signer: Signer,
        store: EvidenceStore,
        sender: Sender,
        transport: Transport,
        *,
        journal: Journal,
        announcer: Announcer,
        clock: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._signer = signer
        self._store = store
        self._sender = sender
        self._transport = transport
        self._journal = journal
        self._announcer = announcer
        self._clock = clock
        self._to_withdraw: list[Packet] = []

    def begin(self, stored: Iterable[Packet]) -> set[bytes]:
        """Make store and outbox agree on what is set aside; returns the ids of these packets.

        One of the two may be older than the other. `stored` are this site's packets in the store.
        """
        known = {each.packet.id for each in self._outbox.aside()}
        in_store = self._store.aside - known
        forgotten = [Own(packet, ()) for packet in stored if packet.id in in_store]
        if forgotten:
            self._outbox.set_aside(forgotten, (), limit=None)
            self._signer.read_again()
        self._to_withdraw = [each.packet for each in self._outbox.aside()]
        self._store.set_aside(self._to_withdraw)
        return {*known, *in_store}

    @property
    def is_needed(self) -> bool:
        """True if the last sequence is further ahead of the clock than clocks may differ."""
        return self._outbox.last_sequence > limit_at(self._clock())

    def refuse(self) -> None:
        """Raise `ClockError`: only a person knows if the clock was wrong then or is wrong now."""
        now, last_s = self._clock(), self._outbox.last_sequence / 1e6
        raise ClockError(
            f"nothing was published: this site has signed something dated {span(last_s - now)} "
            "ahead of this machine's clock, so the clock was wrong then or is now. If it is wrong "
            "now, set it; if it is right, call recover_clock(), which sets aside what is dated "
            "ahead",
            field="sequence",
            actual=now,
            limit=last_s,
        )

    def recover(self, publish_again: PublishAgain) -> tuple[Packet, ...]:
        """Set aside and return all packets dated after now. The clock has to be right.

        Withdrawals among them are signed again at once: a person has said them, and what they
        withdraw must not come into force again because of the date.
        """
        limit = limit_at(self._clock())
        packets = [own for own in self._known() if _is_beyond(own.packet, limit)]
        newest = _newest(packets)
        again = {own.packet.id for own in newest if own.packet.outcome.kind == KIND_RETRACTION}
        self._set_aside(packets, limit=limit, again=again)
        try:
            self.renew(publish_again)
        except AccountError as error:  # until it is settled nothing leaves; `run` tries again
            self._tell_not_yet(error)
        return tuple(own.packet for own in packets)

    def renew(self, publish_again: PublishAgain) -> None:
        """Sign again the withdrawals that were set aside, if that has not been done."""
        for each in self._outbox.aside():
            if each.is_due:
                publish_again(Own(each.packet, each.routing_keys), 0)
                self._outbox.signed_again(each.packet)
                self._sender.wake()

    def make_way(self, key: EvidenceKey) -> None:
        """Set aside what is dated ahead under one evidence key, so that it can be retracted now.

        If it is the clock that is wrong and not the packet, the retraction is signed again when the
        clock is corrected, with a higher sequence than what it withdraws.
        """
        if not self.is_needed:
            return
        limit = limit_at(self._clock())
        packets = [
            own
            for own in self._known()
            if _is_beyond(own.packet, limit) and evidence_key(own.packet) == key
        ]
        self._set_aside(packets, limit=None)

    def aside_under(self, key: EvidenceKey) -> Own | None:
        """Return the newest packet of an evidence key that was set aside; others may hold it."""
        of_key = [each for each in self._outbox.aside() if evidence_key(each.packet) == key]
        return Own(of_key[-1].packet, of_key[-1].routing_keys) if of_key else None

    def answer(self, publish_again: PublishAgain) -> None:
        """Supersede each packet that was set aside and whose date has come."""
        now = self._clock()
        aside = [each for each in self._outbox.aside() if not each.is_answered]
        due = [each for each in aside if _due_at(each.packet) <= now]
        if not due:
            return
        newest: dict[EvidenceKey, Aside] = {evidence_key(each.packet): each for each in due}
        for key, each in newest.items():
            former = self._signer.former(key) or Own(each.packet, each.routing_keys)
            is_over = former.packet.sequence > each.packet.sequence
            is_evidence = key.role is Role.PRIMARY  # which a synthesis or an anchor is not
            if each.packet.expires_at > now and is_evidence and not is_over:
                publish_again(former, each.packet.sequence)
                self._sender.wake()
        self._outbox.answered((each.packet for each in due), now=now)

    async def run(self, publish_again: PublishAgain) -> None:
        """Supersede packets when their dates come, until cancelled."""
        while True:
            await self._sender.room()
            self._withdraw()
            try:
                if not self.is_needed:  # the withdrawals that an earlier process did not come to
                    self.renew(publish_again)
                self.answer(publish_again)
            except (InputError, StorageError) as error:
                self._tell_not_yet(error)
            now = self._clock()
            aside = self._outbox.aside()
            dates = [_due_at(each.packet) for each in aside if not each.is_answered]
            await asyncio.sleep(min(LOOK_S, max(0.1, min(dates, default=now + LOOK_S) - now)))

    def _tell_not_yet(self, error: InputError | StorageError) -> None:
        self._announcer.tell("refused", reason=f"over a packet set aside, tried again: {error}")

    def _known(self) -> list[Own]:
        """Return this site's packets in store and outbox, each once, without those set aside."""
        waiting = self._outbox.queued(most=self._outbox.limit)
        found = {each.packet.id: Own(each.packet, each.routing_keys) for each in waiting}
        found.update((own.packet.id, own) for own in self._outbox.own().values())
        keys = {evidence_key(own.packet): own.routing_keys for own in found.values()}
        for packet in self._store.packets_of(self._signer.issuer):
            its_keys = keys.get(evidence_key(packet), ())
            found.setdefault(
                packet.id, Own(packet, its_keys if packet.travels_under(its_keys) else ())
            )
        aside = {each.packet.id for each in self._outbox.aside()}
        return [own for own in found.values() if own.packet.id not in aside]

    def _set_aside(
        self, packets: list[Own], *, limit: int | None, again: Container[bytes] = ()
    ) -> None:
        ids = {own.packet.id for own in packets}
        left = [own for own in self._known() if own.packet.id not in ids]
        former = _newest(own for own in left if limit is None or not _is_beyond(own.packet, limit))
        self._journal.set_aside(own.packet for own in packets)
        self._store.set_aside([own.packet for own in packets])
        self._outbox.set_aside(packets, former, limit=limit, again=again)
        self._signer.read_again()
        self._sender.withdraw(ids)
        self._to_withdraw += [own.packet for own in packets]
        self._withdraw()
        for own in packets:
            ahead_s = own.packet.sequence / 1e6 - self._clock()
            reason = f"it is dated {span(ahead_s)} ahead of this machine's clock"
            self._announcer.tell("set_aside", packet=own.packet, reason=reason)

    def _withdraw(self) -> None:
        """Withdraw from the network what was set aside; if that fails, `run` tries again."""
        if not self._to_withdraw:
            return
        try:
            self._transport.withdraw(self._to_withdraw)
        except TransportError as error:
            reason = f"{len(self._to_withdraw)} packets set aside are not taken back yet: {error}"
            self._announcer.tell("unsent", reason=reason)
        else:
            self._to_withdraw = []


def _is_beyond(packet: Packet, limit: int) -> bool:
    return max(packet.sequence, packet.issued_at * 1_000_000) > limit


def _due_at(packet: Packet) -> float:
    """Return when others begin to admit a packet (Unix seconds), so that it can be superseded."""
    return max(packet.sequence / 1e6, packet.issued_at) - CLOCK_TOLERANCE_S + _MARGIN_S


def _newest(owns: Iterable[Own]) -> list[Own]:
    """Return the newest packet of each evidence key."""
    ordered = sorted(owns, key=lambda own: own.packet.sequence)
    return list({evidence_key(own.packet): own for own in ordered}.values())
