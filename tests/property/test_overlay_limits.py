"""What members of ill will can make a node remember and send has the limits that the docs give."""

import random

from qis.identity import Identity
from qis.overlay.addresses import pack_address
from qis.overlay.messages import Find, Found, Publish, Published, decode
from qis.overlay.node import OverlayNode, Settings
from qis.overlay.record import Credentials
from qis.overlay.retained import Carried

NOW = 1_700_000_000.0
KEY = b"k" * 8


class Stranger:
    """A node of which only the datagrams exist."""

    def __init__(self, number):
        self.credentials = Credentials.of(Identity.from_seed(number.to_bytes(32)))
        self.address = pack_address(f"192.0.{number >> 8}.{number & 255}", 4_000)
        self.record = self.credentials.record(self.address, 1).encode()

    def enter(self, node, now):
        """Prove its address, and come into the table."""
        for token in (bytes(16), node._tokens.token(self.address, now)):
            find = Find(request=b"r" * 8, token=token, record=self.record, target=1)
            node.receive_datagram(find.encode(), self.address, now)


def live_node():
    settings = Settings(
        credentials=Credentials.of(Identity.from_seed(bytes(32))),
        address=pack_address("198.51.100.1", 4_000),
        inspect=lambda packet, keys, now: None,
        receive=lambda packet, keys, hops, now: True,
        accepts=lambda _: True,
    )
    return OverlayNode(settings, rng=random.Random(0), now=NOW)


def test_heirs_that_name_each_other_are_handed_a_packet_once_each():
    node = live_node()
    carried = Carried(
        id=bytes(32), issuer=bytes(32), expires_at=NOW + 9e5, keys=(KEY,), packet=bytes(512)
    )
    node.holder.retained.put(carried, [KEY], NOW)
    strangers = {s.address: s for s in map(Stranger, range(1, 9))}
    records = [s.record for s in strangers.values()]
    next(iter(strangers.values())).enter(node, NOW)
    handed, now, rng = [], NOW, random.Random(1)
    while (at := node.next_timer()) is not None and at < NOW + 60.0 and len(handed) < 2_000:
        now = at
        node.handle_timer(now)
        while sent := node.datagrams():
            for data, address, _ in sent:
                message = decode(data)
                if isinstance(message, Find):
                    answer = Found(request=message.request, token=bytes(16), records=())
                elif isinstance(message, Publish):
                    handed.append(address)
                    news = tuple(rng.sample(records, 4))
                    known = live_node().holder.holdings.known(KEY, now)
                    answer = Published(request=message.request, known=(known,), news=news)
                else:
                    continue
                node.receive_datagram(answer.encode(), address, now)
    assert len(handed) > 4
    assert len(handed) == len(set(handed))
