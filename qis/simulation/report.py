"""What a simulated network has done: reach, cost and load in one table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from qis.simulation.network import Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Figures of one simulation since its last reset; NaN where there is nothing to count.

    Parameters
    ----------
    nodes, alive
        Nodes that there have been, and those that live.
    publications
        Packets published.
    recall
        Of all (packet, living agent that it concerns, share a key or not), those delivered.
    precision
        Of all deliveries to applications, those to agents that the packet concerns.
    arrivals_wanted
        Of all packets that came to a node, those that its application took; the others shared a
        key by chance and were let go at the receiver's end.
    copies
        Arrivals for each packet and node that it came to.
    duplicates
        Arrivals beyond the first; none reaches an application.
    hops_p50, hops_p99
        Length of a lookup's path, of the lookups made by `look_up`.
    requests_p50, requests_p99
        Requests of these lookups.
    messages_per_publish
        Messages from a publisher to holders, tries not counted.
    datagrams, bytes
        All that was sent, requests and answers and tries alike.
    state_per_node_p50, state_per_node_p99
        Subscriptions that a living node holds: one for each pair of subscriber and key.
    load_max_over_mean
        Packets sent to subscribers by the busiest living node, over the mean.
    busiest_share
        The busiest node's share of all packets sent to subscribers, in [0, 1].
    pairs_reached, pairs_possible
        Pairs of nodes of which one's packet was delivered to the other, and N(N−1)/2.

    """

    nodes: int
    alive: int
    publications: int
    recall: float
    precision: float
    arrivals_wanted: float
    copies: float
    duplicates: int
    hops_p50: float
    hops_p99: float
    requests_p50: float
    requests_p99: float
    messages_per_publish: float
    datagrams: int
    bytes: int
    state_per_node_p50: float
    state_per_node_p99: float
    load_max_over_mean: float
    busiest_share: float
    pairs_reached: int
    pairs_possible: int

    def to_dict(self) -> dict[str, Any]:
        """All figures by name, for JSON and data frames."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(f"{name:<20} {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in self._rows())
        return f"<table>{''.join(rows)}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        return [
            (name, f"{value:.4g}" if isinstance(value, float) else f"{value:,}")
            for name, value in self.to_dict().items()
        ]


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts that only grow, as they stood at some time."""

    datagrams: int = 0
    datagram_bytes: int = 0
    forwarded: dict[int, int] = field(default_factory=dict)
    handed: int = 0

    @classmethod
    def of(cls, network: "Simulation") -> Self:
        """As they stand now."""
        return cls(
            network.datagrams,
            network.datagram_bytes,
            {i: node.rendezvous.send_window.sent for i, node in enumerate(network.nodes)},
            sum(node.publisher.sent for node in network.nodes),
        )


def percentile(counts: Counter[int], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; NaN of none."""
    left = share * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return float(value)
    return float("nan")


def report_of(network: "Simulation", before: Totals) -> Report:
    """The figures of a network since `before`."""
    after = Totals.of(network)
    alive = network.alive()
    hops, requests = Counter[int](), Counter[int]()
    for (path, asked), times in network.lookups.items():
        hops[path] += times
        requests[asked] += times
    states, loads = network.state_per_node(), network.load_per_node()
    state = Counter(states[i] for i in alive)
    sent = [loads[i] for i in alive]
    return Report(
        nodes=len(network.nodes),
        alive=len(alive),
        publications=len(network.publications),
        **_reach(network),
        hops_p50=percentile(hops, 0.5),
        hops_p99=percentile(hops, 0.99),
        requests_p50=percentile(requests, 0.5),
        requests_p99=percentile(requests, 0.99),
        messages_per_publish=_ratio(after.handed - before.handed, len(network.publications)),
        datagrams=after.datagrams - before.datagrams,
        bytes=after.datagram_bytes - before.datagram_bytes,
        state_per_node_p50=percentile(state, 0.5),
        state_per_node_p99=percentile(state, 0.99),
        load_max_over_mean=_max_over_mean(sent),
        busiest_share=_ratio(max(sent, default=0), sum(sent)),
        pairs_possible=len(network.nodes) * (len(network.nodes) - 1) // 2,
    )


def _reach(network: "Simulation") -> dict[str, Any]:
    found = due = right = delivered = arrived = copies = 0
    pairs: set[frozenset[int]] = set()
    for packet_id, publication in network.publications.items():
        concerned = network.concerned(packet_id)
        taken = publication.delivered - {publication.publisher}
        found += len(taken & concerned - network.dead)
        due += len(concerned - network.dead)
        right += len(taken & concerned)
        delivered += len(taken)
        arrived += len(publication.copies)
        copies += publication.copies.total()
        pairs.update(frozenset((publication.publisher, node)) for node in taken)
    return {
        "recall": _ratio(found, due),
        "precision": _ratio(right, delivered),
        "arrivals_wanted": _ratio(delivered, arrived),
        "copies": _ratio(copies, arrived),
        "duplicates": copies - arrived,
        "pairs_reached": len(pairs),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _max_over_mean(values: Sequence[int]) -> float:
    return _ratio(max(values, default=0), fmean(values)) if values else float("nan")
