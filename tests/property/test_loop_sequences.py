"""Any interleaving of publishing, retracting, waiting, restarts, crashes and restored backups."""

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings, strategies as st

import qis
from qis.errors import AccountError, ClockError, DisclosureError, InputError
from qis.evidence.rules import KIND_RETRACTION
from qis.loop import Outbox
from qis.packet import is_numbered_ahead
from qis.testing import VirtualClock

SITE = qis.Identity.from_seed(bytes([1]) * 32)
SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
NOW = 1_800_000_000.0

STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["publish", "retract", "release", "reject"]), st.integers(0, 2)),
        st.tuples(
            st.just("clock"), st.sampled_from([1e-6, 1.0, -1.0, -200.0, 9e4, -9e4, 2e7, -2e7])
        ),
        st.tuples(
            st.sampled_from(["restart", "backup", "restore", "recover", "settle"]), st.just(0)
        ),
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
        self.aside = set()
        self.over = set()
        self.withdrawn = set()
        self.carried = set()
        self.below = []
        self.version = 0
        self.saved = []
        self.restored = self.is_older = False

    def note(self, event):
        """What leaves is above all that was used, but for what is too far ahead."""
        if event.kind == "set_aside":
            self.aside.add(event.packet.sequence)
        if event.kind in ("replaced", "expired"):
            self.over.add(event.packet.sequence)
        if event.kind in ("published", "retracted", "republished"):
            sequence = event.packet.sequence
            limit = (int(self.clock.now) + 300) * 1_000_000
            self.below += [n for n in self.left if sequence <= n <= limit]
            self.left.append(sequence)
            is_withdrawn = event.packet.outcome.kind == KIND_RETRACTION
            change = self.withdrawn.add if is_withdrawn else self.withdrawn.discard
            change(event.packet.outcome.study_id)

    def is_ahead(self):
        """Whether something that was signed stands further ahead than clocks may be."""
        stands = [number for number in self.left if number not in self.aside]
        return max(stands, default=0) > self.clock.now * 1e6 + 299e6

    async def run(self, steps):
        """Take the steps; a restart is a loop that is not flushed and opened anew."""
        steps, name = list(steps), ""
        while name != "end":
            with Outbox(self.folder / "outbox.db") as outbox:
                await self.network.settle()
                self.carried = set(self.network._message_store)
                async with self.loop(outbox) as loop:
                    if self.is_older:
                        assert loop.check(), "a backup that is older is found"
                    while steps:
                        name, argument = steps.pop(0)
                        if name in ("restart", "restore"):
                            break
                        await getattr(self, f"do_{name}")(loop, argument)
                    else:
                        name = "end"
                        await self.do_settle(loop, 0)
                        assert await loop.flush(20)
            self.is_older = False
            if name == "restore" and (self.folder / "backup.db").exists():
                self.restored, self.is_older = True, self.left != self.saved
                shutil.copy(self.folder / "backup.db", self.folder / "outbox.db")
                # What protects is time: the clock is right again when a backup is brought back.
                self.clock.now = max(self.clock.now, max(self.left) / 1e6 if self.left else 0) + 1.0

    def loop(self, outbox):
        return qis.SynthesisLoop(
            SITE,
            qis.MemoryTransport(self.network, SITE),
            SCHEME,
            interest=SCHEME.interest([-1.0, 1.0, -1.0]),  # nothing of ours comes back
            disclosure=qis.Disclosure.preset("none"),
            outbox=outbox,
            approve=self.approve,
            on_event=self.note,
            clock=self.clock,
        )

    async def leave(self, loop, call):
        """Let something out, unless the account is in doubt; false if it was withdrawn."""
        is_doubted, before = bool(loop.check()), len(self.left)
        try:
            await call
        except AccountError:
            assert self.restored
            assert loop.check()
            assert len(self.left) == before
        except ClockError:
            assert self.is_ahead() or self.restored
        except DisclosureError as error:
            return error.field != "withdrawn"
        else:
            assert not is_doubted
        return True

    async def do_publish(self, loop, number):
        self.version += 1
        outcome = qis.Effect(
            question=f"q{number}", measure="MD", estimate=self.version, standard_error=1.0
        )
        is_withdrawn = outcome.study_id in self.withdrawn
        before = len(self.left)
        if not await self.leave(loop, loop.publish(outcome, about=ABOUT)):
            assert is_withdrawn or self.restored
            await self.leave(loop, loop.publish(outcome, about=ABOUT, reinstate=True))
        elif is_withdrawn and not self.aside:
            assert len(self.left) == before, "a withdrawal holds"

    async def do_retract(self, loop, number):
        with suppress(InputError):  # where there is nothing to withdraw
            await self.leave(loop, loop.retract(f"q{number}"))

    async def do_release(self, loop, number):
        waiting = loop.waiting()
        if len(waiting) > number:
            release = loop.release(waiting[number].id, approver="Dr Grey")
            may_leave = await self.leave(loop, release)
            assert may_leave or self.restored, "a retraction drops what waits"

    async def do_recover(self, loop, _):
        await loop.recover_clock()
        assert not loop._parts.recovery.is_needed

    async def do_settle(self, loop, _):
        if loop.check():
            await self.network.settle()
            assert set(self.network._message_store) <= self.carried, "nothing was sent meanwhile"
            assert await loop.settle("restored", approver="Dr Grey") == ()

    async def do_reject(self, loop, number):
        waiting = loop.waiting()
        if len(waiting) > number:
            await loop.reject(waiting[number].id, approver="Dr Grey")

    async def do_clock(self, _, seconds):
        self.clock.now += seconds

    async def do_backup(self, loop, _):
        loop._parts.outbox._execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(self.folder / "outbox.db", self.folder / "backup.db")
        self.saved = list(self.left)


@settings(max_examples=60)
@given(steps=STEPS, approve=st.sampled_from([None, "manual"]))
def test_sequences_only_grow_and_nothing_that_was_published_is_lost(steps, approve):
    with tempfile.TemporaryDirectory() as folder:
        site = Site(folder, approve=approve)
        asyncio.run(site.run(steps))
    assert len(set(site.left)) == len(site.left), "no number is used twice"
    carried = [qis.Packet.parse(data) for data, _ in site.network._message_store.values()]
    sequences = {packet.sequence for packet in carried}
    assert len(sequences) == len(carried)
    assert sequences <= set(site.left)
    assert not any(is_numbered_ahead(each.sequence, each.issued_at) for each in carried)
    if not site.restored:
        assert not site.below
        assert sequences <= set(site.left) - site.aside
        assert sequences >= set(site.left) - site.aside - site.over
