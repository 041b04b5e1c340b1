"""What a site's people want to know of it, as a `Document`: what left, what came, what waits.

The report shows what waits for approval with its preview, so it belongs inside. Of what a rule has
kept back it names the rule only, as the audit log does, and of a study under embargo no number.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from qis import __version__
from qis.account import AccountFinding
from qis.errors import StorageError
from qis.evidence import AuditLog, EvidenceStore, Reason, Review
from qis.health import Health, HealthState
from qis.identity import Issuer
from qis.loop import Pending, Undelivered
from qis.models import FittedModel
from qis.packet import Packet
from qis.site.document import Document, Heading, Paragraph, Part, Rows, Section, Verbatim
from qis.synthesis import Synthesis

_MOST: Final = 200
"""Most rows of a table, and most outcomes that are shown as they wait."""
_ENTRIES: Final = 5_000
"""Newest entries of the audit log in which refusals are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """What a report is made of.

    Parameters
    ----------
    issuer
        The site's key.
    now
        Unix seconds.
    health, findings, waiting, undelivered
        As the loop tells them.
    store
        The evidence.
    results
        The newest synthesis or model of each study, by its id; one that has none yet is missing.
    audit
        The log, if there is one.

    """

    issuer: Issuer
    now: float
    health: Health
    findings: Sequence[AccountFinding]
    waiting: Sequence[Pending]
    undelivered: Sequence[Undelivered]
    store: EvidenceStore
    results: Mapping[bytes, Synthesis | FittedModel]
    audit: AuditLog | None

    @property
    def name(self) -> str:
        """The site's name on its roster, or the beginning of its key."""
        return self.store.roster.name_of(self.issuer) or f"key {str(self.issuer)[:16]}"


def report_of(facts: SiteFacts) -> Document:
    """The report of a site."""
    reviews = {study: facts.store.evidence(study, now=facts.now) for study in facts.store.studies()}
    return Document(
        f"Site {facts.name}, {_date(facts.now)}",
        [
            Section("At a glance", list(_glance(facts))),
            Section("What needs somebody", list(_needed(facts))),
            Section("What waits for approval", list(_waiting(facts.waiting))),
            Section("What the evidence says", list(_evidence(facts, reviews))),
            Section("What this site has published", list(_left(facts))),
            Section("What came from others", list(_came(facts))),
            Section("What was refused or kept back", list(_refused(facts.audit))),
        ],
    )


def _glance(facts: SiteFacts) -> Iterator[Part]:
    roster = facts.store.roster
    rows = [
        ("health", f"{facts.health.state.value} since {_date(facts.health.since)}"),
        ("waits for approval", str(len(facts.waiting))),
        ("published, and held by no other site", str(len(facts.undelivered))),
        ("account of what has left", "in doubt" if facts.findings else "no finding"),
        ("packets held", str(len(facts.store))),
        (
            "roster",
            "open: everybody is believed"
            if roster.is_open
            else f"{len(roster.sites)} sites, digest {roster.digest.hex()[:16]}",
        ),
        ("this site's key", str(facts.issuer)),
        ("qis", __version__),
    ]
    if facts.audit is not None:
        rows.append(("audit log's head", str(facts.audit.head)))
    yield Rows("The site now", ("what", "value"), rows)
    if facts.audit is not None:
        yield Paragraph(
            "Keep the head where nobody who writes the log can change it: it shows later whether "
            "the end of the log was cut."
        )


def _needed(facts: SiteFacts) -> Iterator[Part]:
    said = [f"{each.code}: {each.text}" for each in facts.findings]
    if said:
        said.append("Nothing leaves until a person has settled this.")
    if facts.health.state is not HealthState.OK:
        said += [
            f"{each.code}, since {_date(each.since)}: {each.text}" for each in facts.health.reasons
        ]
    if facts.waiting:
        said.append(f"Waiting for approval: {len(facts.waiting)}, shown below.")
    yield from (Paragraph(text, is_alarm=True) for text in said)
    if not said:
        yield Paragraph("Nothing.")
    if facts.undelivered:
        yield _cut(
            "Published, and held by no other site",
            ("packet", "question", "since", "why"),
            [
                (_short(each.packet), _about(each.packet), _date(each.since), each.reason)
                for each in facts.undelivered
            ],
        )


def _waiting(waiting: Sequence[Pending]) -> Iterator[Part]:
    if not waiting:
        yield Paragraph("Nothing.")
        return
    yield Paragraph(
        "Read each preview. Then release or reject it by its id: "
        "python -m qis site approve SITE.toml ID, or python -m qis site reject SITE.toml ID "
        "--reason TEXT."
    )
    for each in waiting[:_MOST]:
        yield Heading(f"{each.id}: {each.outcome.question}")
        yield Paragraph(f"Submitted {_date(each.created_at)}.")
        yield Verbatim(f"{each.explain}\n\n{each.preview}", f"Preview of {each.id}")
    if len(waiting) > _MOST:
        yield Paragraph(f"{len(waiting) - _MOST} more wait and are not shown here.", is_alarm=True)


def _evidence(facts: SiteFacts, reviews: dict[bytes, Review]) -> Iterator[Part]:
    if not reviews:
        yield Paragraph("There is no evidence yet.")
    for study_id, review in sorted(reviews.items(), key=lambda item: _question(item[1])):
        yield Heading(_question(review))
        match facts.results.get(study_id):
            case None:
                yield Paragraph(
                    'There is no synthesis of it: see the event "unsynthesised" in the log; of a '
                    "model there is none before the end of its embargo."
                )
            case FittedModel() as model:
                yield from _model(model)
            case synthesis:
                yield from _synthesis(synthesis)
        yield from _sites(review)


def _synthesis(synthesis: Synthesis) -> Iterator[Part]:
    yield Verbatim(synthesis.summary(), "Summary")
    if synthesis.sites and not synthesis.is_embargoed:
        yield synthesis.forest_plot()


def _model(model: FittedModel) -> Iterator[Part]:
    yield Verbatim(model.summary(), "Model")
    yield Verbatim(model.explain(), "Model site by site")
    if model.is_estimable:
        for name in model.study.features:
            yield model.forest_plot(name)


def _sites(review: Review) -> Iterator[Part]:
    suppressed = sorted(
        {left.site or str(left.packet.issuer)[:16] for left in review.excluded
         if left.reason is Reason.SUPPRESSED}
    )  # fmt: skip
    for names, what in (
        (review.silent, "Enrolled, and nothing has come from"),
        (suppressed, "Have data that their rules keep back"),
    ):
        if names:
            yield Paragraph(f"{what}: {', '.join(names)}.")
    if review.excluded:
        yield _cut(
            "What does not count, and why",
            ("packet", "site", "reason", "in words"),
            [
                (_short(left.packet), left.site or "not on the roster", left.reason.label,
                 left.reason.sentence)
                for left in review.excluded
            ],
        )  # fmt: skip


def _left(facts: SiteFacts) -> Iterator[Part]:
    own = sorted(
        facts.store.packets_of(facts.issuer), key=lambda packet: packet.sequence, reverse=True
    )
    if not own:
        yield Paragraph("Nothing that is still held.")
        return
    unheld = {each.packet.id for each in facts.undelivered}
    yield _cut(
        "Own packets, the newest first",
        ("packet", "what", "question", "cohort", "issued", "ends", "still to be delivered"),
        [
            (
                _short(packet),
                type(packet.outcome).__name__,
                packet.outcome.question,
                packet.outcome.cohort,
                _date(packet.issued_at),
                _date(packet.expires_at),
                "yes" if packet.id in unheld else "no",
            )
            for packet in own
        ],
    )


def _came(facts: SiteFacts) -> Iterator[Part]:
    by_site: defaultdict[str, list[Packet]] = defaultdict(list)
    for packet in facts.store.packets():
        if packet.issuer != facts.issuer:
            name = facts.store.roster.name_of(packet.issuer)
            by_site[name or f"key {str(packet.issuer)[:16]}"].append(packet)
    if not by_site:
        yield Paragraph("Nothing.")
        return
    yield _cut(
        "Packets that are held, by site",
        ("site", "packets", "studies", "newest issued"),
        [
            (
                name,
                str(len(packets)),
                str(len({packet.outcome.study_id for packet in packets})),
                _date(max(packet.issued_at for packet in packets)),
            )
            for name, packets in sorted(by_site.items())
        ],
    )


def _refused(audit: AuditLog | None) -> Iterator[Part]:
    if audit is None:
        yield Paragraph("Without an audit log nobody knows.")
        return
    first = max(0, audit.head.count - _ENTRIES)
    try:
        entries = list(AuditLog.read(audit.path).since(first))
    except StorageError as error:  # the rest of the report is wanted all the more
        yield Paragraph(f"The audit log cannot be read: {error}", is_alarm=True)
        return
    refused = [each for each in entries if each.event == "refused"]
    if first:
        yield Paragraph(
            f"Of the newest {_ENTRIES} entries of the audit log, from entry {first} on."
        )
    if not refused:
        yield Paragraph("Nothing.")
        return
    counts = Counter(each.rule for each in refused)
    yield Rows(
        "By rule or verdict",
        ("rule or verdict", "times"),
        [(rule, str(count)) for rule, count in counts.most_common(_MOST)],
    )
    yield _cut(
        "Each, the newest first",
        ("when", "rule or verdict", "question", "from", "reason"),
        [
            (
                _date(each.at),
                each.rule,
                str(each.details.get("question", "")),
                str(each.details.get("issuer", "this site"))[:16],
                each.reason,
            )
            for each in reversed(refused)
        ],
    )


def _cut(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Rows:
    """A table of at most so many rows, whose caption says how many there are."""
    found = list(rows)
    if len(found) > _MOST:
        caption = f"{caption} (the first {_MOST} of {len(found)})"
    return Rows(caption, headings, found[:_MOST])


def _question(review: Review) -> str:
    known = [*review.evidence, *review.anchors, *(left.packet for left in review.excluded)]
    questions = sorted({packet.outcome.question for packet in known} - {""})
    return questions[0] if questions else f"study {review.study_id.hex()}"


def _about(packet: Packet) -> str:
    cohort = f", cohort {packet.outcome.cohort}" if packet.outcome.cohort else ""
    return f"{packet.outcome.question}{cohort}"


def _short(packet: Packet) -> str:
    return packet.id.hex()[:16]


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
