"""A simulated network: built in one call, published into, hurt, healed, and measured."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, Final, Literal, Self

from qis._gate import checked
from qis._given import byte_string, real_number, whole_number
from qis.about import ROUTING_KEY_SIZE, Fingerprint, Interest, canonical_routing_keys
from qis.errors import InputError
from qis.fingerprint.scheme import Scheme
from qis.overlay.subscriber import HOLDERS, REFRESH_S
from qis.simulation import letters
from qis.simulation.crowd import Crowd
from qis.simulation.members import member, members
from qis.simulation.progress import Progress, no_progress
from qis.simulation.publication import Publication
from qis.simulation.report import Report, Totals, report_of
from qis.simulation.tables import fill_tables, remember_closest
from qis.simulation.wire import LONGEST_S

Joins = Literal["messages", "tables", "placed"]
_MOST_HOLDERS: Final = 64
SETTLED_S: Final = 30.0
"""How long the last one to enter or to subscribe is given."""


class Simulation(Crowd):
    """A network of N nodes of the real core, numbered from 0.

    Parameters
    ----------
    wanted
        For each node what it subscribes to: an `Interest`, its routing keys (8 bytes each), or,
        with `scheme`, its features.
    scheme
        Makes interests of features.
    seed
        Seed of all randomness: two simulations with the same seed and arguments run identically.
    latency_s
        Range of a datagram's delay, uniform.
    loss, duplicate
        Probability that a datagram is lost, or comes twice.
    holders
        Holders of each key.
    progress
        Called with how much is done, of how much, and of what.

    Raises
    ------
    InputError
        If a probability, range or routing key is not one.

    """

    @checked
    def __init__(
        self,
        wanted: Sequence[Any],
        *,
        scheme: Scheme[Any] | None = None,
        seed: int = 0,
        latency_s: tuple[float, float] = (0.005, 0.05),
        loss: float = 0.0,
        duplicate: float = 0.0,
        holders: int = HOLDERS,
        progress: Progress = no_progress,
    ) -> None:
        super().__init__(
            members(wanted, scheme),
            holders=whole_number(holders, "holders", 1, _MOST_HOLDERS),
            seed=seed,
            latency_s=latency_s,
            loss=loss,
            duplicate=duplicate,
            progress=progress,
        )
        self._numbers = count()
        self._before = Totals()

    @classmethod
    @checked
    def build(cls, wanted: Sequence[Any], *, joins: Joins = "messages", **options: Any) -> Self:
        """A network in which all have joined and subscribed.

        Parameters
        ----------
        wanted, options
            What each node subscribes to, and the other arguments of the class.
        joins
            By "messages", as in the real network; or by "tables" that are filled as if they had,
            and then the first lookup of a node's own keys begins at those closest to them, as every
            later one does. Or "placed": subscriptions lie at the nodes closest to their keys, too,
            and have been refreshed once: no time passes, and no message is sent.

        """
        network = cls(wanted, **options)
        network.join_all(joins=joins)
        return network

    # --- what can be done -------------------------------------------------------------------

    @checked
    def join_all(self, *, joins: Joins = "messages", apart_s: float = 0.05) -> None:
        """Let the nodes enter one after the other by a random earlier one, then subscribe."""
        size, apart_s = len(self.nodes), real_number(apart_s, "apart_s", 0.0, 3_600.0)
        if joins == "placed":
            self._make_placement()
            return
        if joins == "tables":
            fill_tables(self.nodes, self._rng)
            remember_closest(self.nodes, [each.keys for each in self.members])
        else:
            for i in range(1, size):
                self.at(i * apart_s, self._join, i, self._rng.randrange(i), size)
            self._run_until(self.now + size * apart_s + SETTLED_S)
        for i in range(size):
            self.at(i * min(apart_s, 60.0 / size), self._subscribe, i, size)
        self._run_until(self.now + min(size * apart_s, 60.0) + SETTLED_S)

    @checked
    def subscribe(self, node: int, wanted: Interest | Iterable[bytes]) -> None:
        """Change what a node wants, to nothing with no keys."""
        (node,) = self._numbered([node], "node")
        self.members[node] = member(wanted, self.now)
        self._subscribe(node)

    @checked
    def publish(
        self,
        publisher: int,
        keys: Iterable[bytes] | None = None,
        *,
        fingerprint: Fingerprint | None = None,
        study: bytes = b"",
    ) -> bytes:
        """Publish a packet at a node; its id.

        Parameters
        ----------
        publisher
            The node.
        keys
            What the packet travels under; default: what the node itself subscribes to.
        fingerprint
            What it is about; default: what the node's own interest is about, if it has one and no
            keys are given.
        study
            The id of its study, 8 bytes.

        """
        (publisher,) = self._numbered([publisher], "publisher")
        study = byte_string(study, "study", ROUTING_KEY_SIZE) if study else b""
        own = self.members[publisher]
        if keys is None:
            keys = own.keys
            if fingerprint is None and own.interest is not None:
                fingerprint = own.interest.fingerprint
        node = self._ready(publisher)
        key = node.contact.record.key
        letter = letters.write(key, next(self._numbers), fingerprint, study)
        carried = letters.carried(letter, canonical_routing_keys(keys), self.now)
        self.publications[carried.id] = Publication(publisher, letter, carried.keys)
        node.publish(carried, self.now)
        self._flush(publisher)
        return carried.id

    @checked
    def look_up(self, node: int) -> None:
        """Let a node look for a random id; the report counts the path and requests of these."""
        (node,) = self._numbered([node], "node")
        target = self._rng.getrandbits(256)
        self._looked_for.add(target)
        self.nodes[node].lookup_driver.find(
            target, width=self._holders, now=self.now, then=_do_nothing
        )
        self._flush(node)

    @checked
    def churn(
        self, share: float, *, among: Iterable[int] | None = None, over_s: float = REFRESH_S
    ) -> list[int]:
        """Let a share of the living die, one after the other, and as many newcomers join.

        A newcomer wants what the one wanted that has gone. Time passes: `over_s` seconds, and
        `SETTLED_S` for the last one.

        Parameters
        ----------
        share
            In [0, 1].
        among
            Who may have to go; default: all.
        over_s
            In how many seconds all this happens.

        Returns
        -------
        list of int
            The newcomers.

        """
        if not 0.0 <= share <= 1.0:
            raise InputError(f"share is {share!r}; it is a share in [0, 1]", field="share")
        over_s = real_number(over_s, "over_s", 0.0, LONGEST_S)
        alive = set(self.alive())
        chosen = alive if among is None else alive.intersection(self._numbered(among, "among"))
        mortal = sorted(chosen)
        leaving = self._rng.sample(mortal, round(share * len(mortal)))
        staying = sorted(alive.difference(leaving))
        if leaving and not staying:
            raise InputError(
                f"share is {share!r}, which leaves nobody by whom newcomers could enter",
                field="share",
            )
        newcomers = [self._add(self.members[gone]) for gone in leaving]
        self.kill(newcomers)  # not there yet
        for gone, newcomer in zip(leaving, newcomers, strict=True):
            self.at(self._rng.uniform(0.0, over_s), self.kill, [gone])
            when_s, known = self._rng.uniform(0.0, over_s), self._rng.choice(staying)
            self.at(when_s, self.dead.discard, newcomer)
            self.at(when_s, self._join, newcomer, known)
        self.run(over_s + SETTLED_S)
        return newcomers

    # --- what can be seen -------------------------------------------------------------------

    @checked
    def receivers(self, packet_id: bytes) -> set[int]:
        """The nodes that a packet has come to, whether or not their application took it."""
        return set(self._published(packet_id).copies)

    @checked
    def delivered(self, packet_id: bytes) -> set[int]:
        """The nodes whose application a packet was given to."""
        return self._published(packet_id).delivered

    @checked
    def concerned(self, packet_id: bytes) -> set[int]:
        """The nodes, not the publisher, that a packet is for, dead or alive, key shared or not."""
        letter = self._published(packet_id)
        return {
            i
            for i, each in enumerate(self.members)
            if i != letter.publisher and each.is_concerned(letter.packet, letter.keys)
        }

    def state_per_node(self) -> list[int]:
        """Subscriptions that each node holds, one for each pair of subscriber and key."""
        placed = self._placement.count if self._placement else lambda _: 0
        return [
            len(node.rendezvous.subscription_table) + placed(i) for i, node in enumerate(self.nodes)
        ]

    def load_per_node(self) -> list[int]:
        """Packets that each node has sent on since the last `reset`, or from the beginning."""
        forwarded = Totals.of(self).forwarded
        return [forwarded[i] - self._before.forwarded.get(i, 0) for i in range(len(self.nodes))]

    def report(self) -> Report:
        """What has been measured since the last `reset`, or from the beginning."""
        return report_of(self, self._before)

    def reset(self) -> None:
        """Measure anew from here; the network stays as it is."""
        self.publications.clear()
        self.lookups.clear()
        self._before = Totals.of(self)

    def _published(self, packet_id: bytes) -> Publication:
        if packet_id not in self.publications:
            raise InputError(
                f"packet_id {packet_id.hex()[:64]} is of no packet that was published here since "
                "the last reset",
                field="packet_id",
            )
        return self.publications[packet_id]

    # --- its nodes --------------------------------------------------------------------------

    def _join(self, index: int, known: int, total: int = 0) -> None:
        record = self.nodes[known].contact.record
        then = _do_nothing if total else lambda _: self._subscribe(index)
        self.nodes[index].join([(record.key, record.address)], self.now, then=then)
        self._flush(index)
        if total:
            self._progress(index + 1, total, "nodes join")

    def _subscribe(self, index: int, total: int = 0) -> None:
        self._ready(index).want(self.members[index].wanted, self.now)
        self._flush(index)
        if total:
            self._progress(index + 1, total, "nodes subscribe")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.nodes)} nodes at {self.now:.3f} s>"


def _do_nothing(*_: object) -> None:
    """Do nothing: the default of callbacks."""
