"""What goes out to many nodes under many keys: bounded, in lines that leave room for each other."""

import random
from collections import Counter

from qis.about import Fingerprint
from qis.overlay import send_window as outflow_module
from qis.overlay.addresses import pack_address
from qis.overlay.rpc import Rpc
from qis.overlay.send_window import SendWindow
from qis.overlay.timers import Timers
from qis.simulation import letters, seals

NOW = 1_700_000_000.0
OWN = b"i" * 32


def record_of(number):
    address = pack_address(f"10.0.0.{number}", 4_000)
    return seals.credentials(number.to_bytes(32)).record(address, 1)


def packet_of(number):
    letter = letters.write(OWN, number, Fingerprint(bytes(32), b"a scheme"), b"")
    return letters.carried(letter, (b"hot key!",), NOW)


class Lines:
    """A send window to nodes that never answer, with small limits."""

    def __init__(self, monkeypatch, *, line=2, everything=4, waiting=12):
        monkeypatch.setattr(outflow_module, "LINE_WINDOW", line)
        monkeypatch.setattr(outflow_module, "ALL_WINDOW", everything)
        monkeypatch.setattr(outflow_module, "WAITING_LIMIT", waiting)
        self.timers = Timers()
        self.rpc = Rpc(self.timers, random.Random(0), bytes(32))
        self.send_window = SendWindow(self.rpc, OWN)
        self.silent = Counter()

    def send(self, times, line, to=None):
        """So many packets to as many nodes; how many of them went out at once."""
        for number in range(times):
            self.send_window.deliver(
                packet_of(number),
                record_of(number if to is None else to),
                0,
                NOW,
                line=line,
                on_silence=lambda _: self.silent.update([line]),
            )
        return len(self.rpc.take())


def test_of_one_line_only_so_many_are_under_way_and_another_goes_out_beside_it(monkeypatch):
    lines = Lines(monkeypatch, everything=6)
    assert lines.send(5, b"one") == 2
    assert lines.send(5, b"other") == 2
    assert lines.send(5, b"third") == 1  # all there is room for is under way: just one of each
    assert lines.send(5, b"fourth") == 1


def test_a_line_leaves_room_to_wait_for_others(monkeypatch):
    lines = Lines(monkeypatch, line=1, everything=100)
    lines.send(50, b"one")
    assert lines.silent == {b"one": 50 - 1 - 6}  # half of what may wait
    lines.send(50, b"other")
    assert lines.silent[b"other"] == 50 - 1 - 3  # half of the rest
    assert lines.send_window.dropped == lines.silent.total()


def test_what_waits_for_a_node_counts_in_its_line(monkeypatch):
    lines = Lines(monkeypatch, line=100, everything=100)
    monkeypatch.setattr(outflow_module, "WINDOW", 1)
    assert lines.send(50, b"one", to=7) == 1
    assert lines.silent == {b"one": 50 - 1 - 6}
    assert lines.send(3, b"one") == 3  # to others it is free


def test_all_come_to_an_end_and_nothing_is_kept_of_them(monkeypatch):
    lines = Lines(monkeypatch)
    monkeypatch.setattr(outflow_module, "WINDOW", 1)
    lines.send(5, b"one")
    lines.send(5, b"other")
    lines.send(4, b"third", to=7)
    assert lines.send_window.own_under_way == 14 - lines.silent.total()
    while (at := lines.timers.next_at()) is not None:
        lines.timers.run(at)
    assert lines.silent == {b"one": 5, b"other": 5, b"third": 4}
    assert lines.send_window.own_under_way == 0
    assert not lines.send_window._flows
    assert not lines.send_window._lines
