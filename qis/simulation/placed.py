"""Subscriptions at the nodes closest to their keys, as if all messages of it had been exchanged.

All have subscribed within a minute, twelve and a half minutes ago, and have refreshed once since,
each in its own time; the next refreshes are to come. What differs from a network that has done all
this by messages: nodes have no tokens of each other, so that a first request takes one more
datagram each way; and nobody has failed to be found.

A holder's subscriptions are made when it is first asked for them. In a large network few are.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from random import Random

from qis.overlay.ids import rendezvous_id
from qis.overlay.messages import RECORDS_LIMIT
from qis.overlay.node import OverlayNode
from qis.overlay.record import Contact
from qis.overlay.subscriber import REFRESH_S
from qis.overlay.subscription import Subscription
from qis.simulation.members import Member
from qis.simulation.tables import SortedNodes

AGE_S = 750.0
"""Since the last one has subscribed."""
WITHIN_S = 60.0
"""From the first one to the last."""
_Registered = tuple[float, float, list[Subscription]]
"""When first, when again, and what."""


class Placement:
    """Who holds what of nodes that have exchanged nothing.

    Parameters
    ----------
    nodes, members
        All of them, and what they want.
    holders
        Holders of each key.
    now
        Unix seconds.
    rng
        Decides who has refreshed when.

    """

    def __init__(
        self,
        nodes: Sequence[OverlayNode],
        members: Sequence[Member],
        *,
        holders: int,
        now: float,
        rng: Random,
    ) -> None:
        sorted_nodes = SortedNodes(nodes)
        index = {node.contact.id: i for i, node in enumerate(nodes)}
        self._nodes = nodes
        self._registered: list[_Registered] = []
        self._subscribers: defaultdict[bytes, list[int]] = defaultdict(list)
        self._held: defaultdict[int, list[bytes]] = defaultdict(list)

        @cache
        def closest(key: bytes) -> tuple[Contact, ...]:
            found = sorted_nodes.closest(rendezvous_id(key), RECORDS_LIMIT)
            for contact in found[:holders]:
                self._held[index[contact.id]].append(key)
            return found

        for i, (node, member) in enumerate(zip(nodes, members, strict=True)):
            first_at = now - AGE_S - WITHIN_S * (1.0 - i / len(nodes))
            again_at = first_at + REFRESH_S * rng.uniform(0.8, 1.2)
            subscriptions = node.interests.assume(member.wanted, closest, again_at)
            self._registered.append((first_at, again_at, subscriptions))
            for key in member.keys:
                node.lookup_driver.remember(rendezvous_id(key), closest(key))
                self._subscribers[key].append(i)

    def count(self, node: int) -> int:
        """How many subscriptions a node holds that have not been made."""
        return sum(len(self._subscribers[key]) for key in self._held.get(node, ()))

    def make(self, node: int) -> None:
        """Give a node what it holds, unless it has been given that."""
        keys_held = self._held.pop(node, None)
        if keys_held is None:
            return
        held: defaultdict[int, set[bytes]] = defaultdict(set)
        for key in keys_held:
            for subscriber in self._subscribers[key]:
                held[subscriber].add(key)
        subscription_table = self._nodes[node].rendezvous.subscription_table
        seen: set[bytes] = set()
        for subscriber, keys in sorted(held.items()):
            first_at, again_at, subscriptions = self._registered[subscriber]
            for subscription in subscriptions:
                if new := _bits(subscription, keys - seen):
                    subscription_table.put(subscription, new, first_at)
                if under := _bits(subscription, keys):
                    subscription_table.put(subscription, under, again_at)
            seen |= keys


def _bits(subscription: Subscription, keys: set[bytes]) -> int:
    return sum(1 << i for i, key in enumerate(subscription.keys) if key in keys) if keys else 0
