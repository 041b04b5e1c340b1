"""The encrypted channel between two nodes; sans-IO. See docs/channel.md.

One round trip with ephemeral X25519 keys that both nodes sign, then authenticated encryption of
every datagram. It lies under the overlay, which does not know of it.
"""

from qis.channel.channels import Channels

__all__ = ["Channels"]
