"""Any interleaving of publishing, retracting, waiting, restarts, crashes and restored backups."""

import asyncio
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings, strategies as st

import qis
from qis.errors import InputError
from qis.loop import Outbox, Pending
from qis.testing import VirtualClock

SITE = qis.Identity.from_seed(bytes([1]) * 32)
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
NOW = 1_800_000_000.0

STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["publish", "retract", "release", "reject"]), st.integers(0, 2)),
        st.tuples(st.just("clock"), st.sampled_from([1e-6, 1.0, -1.0, -200.0])),
        st.tuples(st.sampled_from(["restart", "backup", "restore"]), st.just(0)),
    ),
    max_size=25,
)


class Site:
    """A site in one folder, whose loop is opened, crashed and brought back from a backup."""

    def __init__(self, folder, *, approve):
        self.folder = Path(folder)
        self.network = qis.MemoryNetwork(now=NOW)
        self.clock = VirtualClock(NOW)
        self.approve = approve
        self.left = []
        self.version = 0
        self.restored = False

    async def run(self, steps):
        """Take the steps; a restart is a loop that is not flushed and opened anew."""
        steps, name = list(steps), ""
        while name != "end":
            with Outbox(self.folder / "outbox.db") as outbox:
                async with self.loop(outbox) as loop:
                    while steps:
                        name, argument = steps.pop(0)
                        if name in ("restart", "restore"):
                            break
                        await getattr(self, f"do_{name}")(loop, argument)
                    else:
                        name = "end"
                        assert await loop.flush(20)
            if name == "restore" and (self.folder / "backup.db").exists():
                self.restored = True
                shutil.copy(self.folder / "backup.db", self.folder / "outbox.db")
                # What protects is time: the clock is right again when a backup is brought back.
                self.clock.now = max(self.clock.now, self.left[-1] / 1e6 if self.left else 0) + 1.0

    def loop(self, outbox):
        return qis.SynthesisLoop(
            SITE,
            qis.MemoryTransport(self.network, SITE),
            SCHEME,
            interest=SCHEME.interest([-1.0, 1.0, -1.0]),  # nothing of ours comes back
            disclosure=qis.Disclosure.preset("none"),
            outbox=outbox,
            approve=self.approve,
            clock=self.clock,
        )

    async def do_publish(self, loop, number):
        self.version += 1
        outcome = qis.Effect(
            question=f"q{number}", measure="MD", estimate=self.version, standard_error=1.0
        )
        published = await loop.publish(outcome, about=ABOUT)
        if not isinstance(published, Pending):
            self.left.append(published.sequence)

    async def do_retract(self, loop, number):
        try:
            packet = await loop.retract(f"q{number}")
        except InputError:
            return
        self.left.append(packet.sequence)

    async def do_release(self, loop, number):
        waiting = loop.waiting()
        if len(waiting) > number:
            packet = await loop.release(waiting[number].id, approver="Dr Grey")
            self.left.append(packet.sequence)

    async def do_reject(self, loop, number):
        waiting = loop.waiting()
        if len(waiting) > number:
            await loop.reject(waiting[number].id, approver="Dr Grey")

    async def do_clock(self, _, seconds):
        self.clock.now += seconds

    async def do_backup(self, loop, _):
        loop._parts.outbox._execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(self.folder / "outbox.db", self.folder / "backup.db")


@settings(max_examples=60)
@given(steps=STEPS, approve=st.sampled_from([None, "manual"]))
def test_sequences_only_grow_and_nothing_that_was_published_is_lost(steps, approve):
    with tempfile.TemporaryDirectory() as folder:
        site = Site(folder, approve=approve)
        asyncio.run(site.run(steps))
    assert all(earlier < later for earlier, later in pairwise(site.left))
    carried = [qis.Packet.parse(data) for data, _ in site.network._retained.values()]
    sequences = {packet.sequence for packet in carried}
    assert len(sequences) == len(carried)
    assert sequences <= set(site.left)
    if not site.restored:
        assert sequences == set(site.left)
