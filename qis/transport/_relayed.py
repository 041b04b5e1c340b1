"""Channels whose datagrams may go through a third node: the channel seals, the relays carry.

A sealed datagram for a relayed address is wrapped and sealed once more, for its relay; one that
comes wrapped is opened as if it had come from such an address. To the node above it makes no
difference which way a datagram has come.
"""

from typing import Protocol

from qis.channel.channels import Opened
from qis.relay import MAGIC, Relays, is_relayed


class Sealing(Protocol):
    """What `qis.channel.Channels` does, and what takes its place in virtual time."""

    def send(self, datagram: bytes, address: bytes, key: bytes | None, now: float) -> None:
        """Seal and send."""

    def receive(self, data: bytes, address: bytes, now: float) -> list[Opened]:
        """Open."""

    def datagrams(self) -> list[tuple[bytes, bytes]]:
        """What has to be sent now; taken once."""


class RelayedChannels:
    """The channels of a node together with its relays.

    Parameters
    ----------
    channels
        What seals and opens.
    relays
        The node's part in forwarding.

    """

    def __init__(self, channels: Sealing, relays: Relays) -> None:
        self._channels = channels
        self._relays = relays

    def receive(self, data: bytes, address: bytes, now: float) -> list[Opened]:
        """What a datagram carries for the node, whichever way it has come."""
        found = self._channels.receive(data, address, now)
        if len(found) == 1 and not found[0].plain.startswith(MAGIC):
            return found  # as nearly always
        opened = []
        for each in found:
            if not each.plain.startswith(MAGIC):
                opened.append(each)
                continue
            wrapped = self._relays.receive(each.plain, each.address, each.key, now)
            if wrapped is not None:
                # What is for relays goes no further: nothing is forwarded twice.
                inner = self._channels.receive(*wrapped, now)
                opened += [one for one in inner if not one.plain.startswith(MAGIC)]
        return opened

    def datagrams(self, now: float) -> list[tuple[bytes, bytes]]:
        """What has to be sent now, as (datagram, address of a host); taken once."""
        found = []
        for data, address in self._channels.datagrams():
            if is_relayed(address):
                self._relays.send(data, address)
            else:
                found.append((data, address))
        wrapped = self._relays.datagrams()
        for data, address, key in wrapped:
            self._channels.send(data, address, key, now)
        if wrapped:
            found += [each for each in self._channels.datagrams() if not is_relayed(each[1])]
        return found

    def next_timer(self) -> float | None:
        """When `handle_timer` has something to do."""
        return self._relays.next_timer()

    def handle_timer(self, now: float) -> None:
        """Do what is due for the relays."""
        self._relays.handle_timer(now)
