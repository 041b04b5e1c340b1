"""One simulated packet, and where it has come to."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Publication:
    """A packet's story.

    Parameters
    ----------
    publisher
        The node that published it.
    packet
        Its bytes.
    keys
        What it travels under.
    copies
        By node, how often it arrived.
    hops
        By node, the hops of the first copy.
    delivered
        The nodes whose application took it, once each.

    """

    publisher: int
    packet: bytes
    keys: tuple[bytes, ...]
    copies: Counter[int] = field(default_factory=Counter)
    hops: dict[int, int] = field(default_factory=dict)
    delivered: set[int] = field(default_factory=set)

    def arrived(self, node: int, *, hops: int, is_taken: bool) -> None:
        """Note a copy at a node."""
        self.copies[node] += 1
        self.hops.setdefault(node, hops)
        if is_taken:
            self.delivered.add(node)
