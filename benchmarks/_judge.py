"""Whether what a node under attack holds is what honest members have put there."""

from _bounds import sizes
from _live_network import Network

import qis
from qis.errors import SignatureError
from qis.identity import verify


class Judge:
    """Compares what the target holds with what honest members have put there."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._members = {site.credentials.key: site.address for site in network.sites}
        self._liar = network.liar.credentials.key
        self._had_packets: set[bytes] = set()

    def faults(self) -> list[str]:
        """What is there and should not be, and what is missing, since this was last asked."""
        return [*self._nodes(), *self._subscriptions(), *self._packets(), *self._limits()]

    def _nodes(self) -> list[str]:
        faults = []
        table = list(self._network.target.node.table)
        for contact in table:
            record = contact.record
            if record.key not in self._members:
                faults.append("a stranger is in the table")
            elif record.key != self._liar and record.address != self._members[record.key]:
                faults.append("a member's address was taken over")
            if not _is_signed(record.key, record.signed_part(), record.signature):
                faults.append("a forged record is in the table")
        there = {contact.record.key for contact in table} | {self._network.target.credentials.key}
        if any(site.credentials.key not in there for site in self._network.honest()):
            faults.append("an honest member has been pushed out of the table")
        return faults

    def _subscriptions(self) -> list[str]:
        faults = []
        network, now = self._network, self._network.now
        subscription_table = network.target.node.rendezvous.subscription_table
        held = set()
        for key in sorted(subscription_table.keys()):
            for subscription in subscription_table.under(key, now):
                held.add((subscription.subscriber, key))
                home = self._members.get(subscription.subscriber)
                if home is None:
                    faults.append("a stranger's subscription is held")
                elif subscription.subscriber != self._liar and subscription.address != home:
                    faults.append("a member is subscribed at another address")
                signed = subscription.signed_part()
                if not _is_signed(subscription.subscriber, signed, subscription.signature):
                    faults.append("a forged subscription is held")
        for site in network.honest():
            due = {(site.credentials.key, key) for key in site.wanted() if network.holds(key)}
            if due - held:
                faults.append(f"{len(due - held)} subscriptions of an honest member are missing")
        return faults

    def _packets(self) -> list[str]:
        faults = []
        now = self._network.now
        published = {packet.id: packet for packet, _, _ in self._network.published}
        message_store = self._network.target.node.rendezvous.message_store
        kept = {}
        for key in sorted(message_store.keys()):
            kept.update({carried.id: carried for carried in message_store.under(key, now)})
        for carried in kept.values():
            issuer = qis.Packet.parse(carried.packet).issuer.key
            if issuer not in self._members or issuer != carried.issuer:
                faults.append("a packet of a stranger is retained")
            elif issuer != self._liar and carried.id not in published:
                faults.append("a packet that nobody has published is retained")
        honest = kept.keys() & published.keys()
        if self._had_packets - honest:
            faults.append("a packet of an honest member is gone")
        self._had_packets = honest
        return faults

    def _limits(self) -> list[str]:
        found = sizes(self._network.target)
        return [f"{name}: {size}" for name, (size, limit) in found.items() if size > limit]


def _is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify(key, message, signature)
    except SignatureError:
        return False
    return True
