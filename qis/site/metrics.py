"""A site's counters and health as OpenMetrics text, for Prometheus and what reads its files.

Names and labels are fixed (docs/operating.md lists them). Labels are codes: no text of a packet, no
name of a question and no number of people is among them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, get_args

from qis.health import Health, HealthState
from qis.loop import LoopStatistics
from qis.models import FittedModel
from qis.models.fitted import ModelCode
from qis.transport import Statistics

_UNESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


def metrics_of(
    done: LoopStatistics,
    carried: Statistics,
    health: Health,
    *,
    undelivered: int,
    models: Sequence[FittedModel] = (),
) -> str:
    """Counters and health in the text format of OpenMetrics 1.0.

    Parameters
    ----------
    done, carried
        Counters of the loop and of its transport.
    health
        The loop's.
    undelivered
        Own packets that no other site is known to hold.
    models
        The newest model of each study of a model.

    Returns
    -------
    str
        Ends with ``# EOF`` and a line feed. Counters begin at 0 when the loop is made.

    Examples
    --------
    >>> from qis.health import Health, HealthState
    >>> from qis.loop import LoopStatistics
    >>> from qis.transport import Statistics
    >>> from qis.site.metrics import metrics_of
    >>> text = metrics_of(
    ...     LoopStatistics(published=2), Statistics(), Health(state=HealthState.OK, since=0.0),
    ...     undelivered=1,
    ... )
    >>> "qis_published_total 2" in text.splitlines(), "qis_undelivered 1" in text.splitlines()
    (True, True)

    """
    return "\n".join([*_lines(done, carried, health, undelivered, models), "# EOF", ""])


def _lines(
    done: LoopStatistics,
    carried: Statistics,
    health: Health,
    undelivered: int,
    models: Sequence[FittedModel],
) -> Iterator[str]:
    yield from _counter("published", "Outcomes that were signed and handed over.", done.published)
    yield from _counter("received", "Packets that arrived and were verified.", done.received)
    yield from _counter("synthesised", "Syntheses that were computed.", done.synthesised)
    yield from _counters(
        "admissions", "Packets by the store's verdict.", "verdict", done.admissions
    )
    yield from _counters("kept_back", "Own outcomes kept back, by rule.", "rule", done.refused)
    yield from _counters("failures", "Syntheses that failed, by error.", "error", done.failures)
    yield from _counters("events", "Events, by kind.", "kind", done.events)
    yield from _counter(
        "callback_failures",
        "Errors that the application's on_event raised.",
        done.callback_failures,
    )
    yield from _counters(
        "transport_packets",
        "Packets at the transport, by what became of them.",
        "fate",
        {
            name: getattr(carried, name)
            for name in ("published", "delivered", "duplicates", "unmatched", "dropped", "tidied")
        },
    )
    yield from _counters(
        "transport_refused", "What the transport refused, by reason.", "reason", carried.refused
    )
    yield from _counters(
        "transport_bytes",
        "Bytes of datagrams.",
        "direction",
        {"sent": carried.bytes_sent, "received": carried.bytes_received},
    )
    yield from _gauge("undelivered", "Own packets that no other site holds.", undelivered)
    yield from _head("models", "gauge", "Models that sites fit together, by how far they are.")
    reached = Counter(model.code for model in models)
    for code in get_args(ModelCode):
        yield f'qis_models{{code="{code}"}} {reached[code]}'
    yield "# TYPE qis_health stateset"
    yield "# HELP qis_health State of the site; exactly one is 1."
    for state in HealthState:
        yield f'qis_health{{qis_health="{state.value}"}} {int(state is health.state)}'
    yield from _gauge("health_reasons", "Reasons for the state.", len(health.reasons))
    yield "# TYPE qis_health_since_seconds gauge"
    yield "# UNIT qis_health_since_seconds seconds"
    yield "# HELP qis_health_since_seconds Unix time since which the state holds."
    yield f"qis_health_since_seconds {health.since}"


def _head(name: str, kind: str, said: str) -> Iterable[str]:
    return (f"# TYPE qis_{name} {kind}", f"# HELP qis_{name} {said}")


def _counter(name: str, said: str, value: int) -> Iterator[str]:
    yield from _head(name, "counter", said)
    yield f"qis_{name}_total {value}"


def _counters(name: str, said: str, label: str, values: Mapping[str, int]) -> Iterator[str]:
    yield from _head(name, "counter", said)
    for key, value in sorted(values.items()):
        yield f'qis_{name}_total{{{label}="{_escaped(key)}"}} {value}'


def _gauge(name: str, said: str, value: float) -> Iterator[str]:
    yield from _head(name, "gauge", said)
    yield f"qis_{name} {value}"


def _escaped(text: str) -> str:
    return "".join(_UNESCAPED.get(character, character) for character in text)
