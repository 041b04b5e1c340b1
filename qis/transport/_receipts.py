"""Which deliveries have been stored by whoever got them, so that the network may let them go."""

from collections.abc import Callable, Iterable

Done = Callable[[], None]


class Receipts:
    """The packets that were given to subscriptions and are not stored by all of them yet."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Receipt] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, packet_id: bytes, deliveries: int, done: Done) -> Iterable[Done]:
        """Note that a packet is given to `deliveries` subscriptions, and make each one's `done`."""
        receipt = _Receipt(deliveries, [done])
        if deliveries:
            self._open[packet_id] = receipt
        return [_Once(self, packet_id, receipt) for _ in range(deliveries)]

    def again(self, packet_id: bytes, done: Done) -> None:
        """Note that a packet has come again: it is done when the first copy is."""
        receipt = self._open.get(packet_id)
        if receipt is None:
            done()
        else:
            receipt.done.append(done)

    def close(self, packet_id: bytes, receipt: "_Receipt") -> None:
        """Call all that wait for a packet, which every subscription has stored."""
        if self._open.get(packet_id) is receipt:
            del self._open[packet_id]
        for done in receipt.done:
            done()


class _Receipt:
    """How many deliveries of a packet are not stored, and whom to tell when all are."""

    __slots__ = ("deliveries", "done")

    def __init__(self, deliveries: int, done: list[Done]) -> None:
        self.deliveries = deliveries
        self.done = done


class _Once:
    """One delivery's `done`, which counts once however often it is called."""

    __slots__ = ("_is_done", "_packet_id", "_receipt", "_receipts")

    def __init__(self, receipts: Receipts, packet_id: bytes, receipt: _Receipt) -> None:
        self._receipts = receipts
        self._packet_id = packet_id
        self._receipt = receipt
        self._is_done = False

    def __call__(self) -> None:
        if self._is_done:
            return
        self._is_done = True
        self._receipt.deliveries -= 1
        if not self._receipt.deliveries:
            self._receipts.close(self._packet_id, self._receipt)
