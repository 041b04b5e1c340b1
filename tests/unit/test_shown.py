"""What a prompt and a notebook show: no address in memory, and a table of what matters."""

import asyncio
import enum
import importlib
import inspect
import pkgutil
from html import escape
from html.parser import HTMLParser

import pytest

import qis
import qis.account
import qis.blocking
import qis.channel
import qis.command
import qis.direct
import qis.relay
import qis.simulation
import qis.testing
import qis.transport.nats
from qis.disclosure import EmissionLedger, PrivacyBudget
from qis.health import HealthReason
from qis.picture.html import grid_of, text_of
from qis.synthesis import (
    absolute_effect,
    bayes,
    egger_test,
    heavy_tailed,
    influence,
    inverse_variance,
    mantel_haenszel,
    pool_profiles,
    shrink,
    weighted_median,
)

NOW = 1_800_000_000
KEY = qis.Identity.from_seed(bytes(32))
SCHEME = qis.VectorScheme(dimensions=2)
REASON = HealthReason(
    code="disk", state=qis.HealthState.DEGRADED, text="the <b>disk</b> is full", since=0.0
)
Y, SE = [0.1, 0.3, -0.2, 0.4], [0.1, 0.2, 0.15, 0.3]


def public():
    """Every public name of every public module, once."""
    modules = [qis.__name__]
    modules += [m.name for m in pkgutil.walk_packages(qis.__path__, "qis.")]
    found = {}
    for name in modules:
        if not any(part.startswith("_") for part in name.split(".")):
            module = importlib.import_module(name)
            for each in getattr(module, "__all__", ()):
                thing = getattr(module, each)
                found.setdefault(id(thing), (f"{name}.{each}", thing))
    return dict(found.values())


CLASSES = {
    name: thing
    for name, thing in public().items()
    if inspect.isclass(thing)
    and not inspect.isabstract(thing)
    and not getattr(thing, "_is_protocol", False)
}


@pytest.mark.parametrize("name", CLASSES)
def test_no_public_class_is_shown_by_its_address(name):
    thing = CLASSES[name]
    if not issubclass(thing, (BaseException, enum.Enum)):
        assert thing.__repr__ is not object.__repr__


NOT_RESULTS = {
    # values and settings that a user makes, which show as they are made
    *(qis.Fingerprint, qis.Identity, qis.Interest, qis.Issuer, qis.Moderator, qis.Site),
    *(qis.SiteKey, qis.Study, qis.Everything, qis.LoadBudget, qis.NearestCells, qis.ModelRows),
    *(qis.Disclosure, qis.disclosure.Preset, qis.about.Near, qis.about.OfScheme),
    *(qis.models.Expansion, qis.models.StudyRows, qis.outcomes.Measure, qis.RosterFile),
    # schemes, indexes and transformers
    *(qis.Ontology, qis.SetScheme, qis.TermScheme, qis.VectorScheme, qis.FingerprintIndex),
    *(qis.fingerprint.Cells, qis.fingerprint.SketchTransformer),
    qis.fingerprint.SimilarityTransformer,
    # parts that run, write or keep something; their repr says how they are
    *(qis.Account, qis.AuditLog, qis.MemoryNetwork, qis.Outbox, qis.account.Lines),
    *(qis.channel.Channels, qis.direct.DirectNode, EmissionLedger, PrivacyBudget),
    *(qis.evidence.AuditReader, qis.relay.Relays, qis.simulation.Simulation),
    *(qis.synthesis.KeptSites, qis.testing.NATSServer, qis.testing.VirtualClock),
    *(qis.transport.Inbox, qis.transport.Reception, qis.transport.nats.Names),
    # what is on a picture, and what a command prints
    *(qis.picture.Area, qis.picture.Axis, qis.picture.Dot, qis.picture.Line),
    *(qis.picture.Words, qis.command.CommandResult),
}
"""Each new public class is one of these, or a result, which notebooks show."""


@pytest.mark.parametrize("name", CLASSES)
def test_every_result_class_is_shown_by_notebooks(name):
    thing = CLASSES[name]
    is_apart = issubclass(thing, (BaseException, enum.Enum, qis.Transport)) or thing in NOT_RESULTS
    is_shown = any(hasattr(thing, each) for each in ("_repr_html_", "_repr_svg_"))
    assert is_shown != is_apart, f"{name}: give it HTML (qis.picture.html), or say what else it is"


def store():
    found = qis.MemoryStore(roster=qis.Roster.open())
    for number in (1, 2):
        outcome = qis.Effect(
            question="<b>q</b>", measure="OR", estimate=0.1 * number, standard_error=0.2, n=50
        )
        packet = qis.Packet.sign(
            qis.Identity.from_seed(bytes([number]) * 32),
            outcome=outcome,
            fingerprint=SCHEME.fingerprint([1.0, 2.0]),
            issued_at=NOW,
            lifetime_s=3600,
        )
        found.add(packet, now=NOW)
    return found


def things(path):
    network = qis.MemoryNetwork()
    transport = qis.MemoryTransport(network, KEY)
    loop = qis.SynthesisLoop(KEY, transport, SCHEME, interest=SCHEME.interest([1.0, 2.0]))
    counts = qis.Counts(question="q", events=3, total=40, control_events=9, control_total=41)
    review = store().evidence("<b>q</b>", now=NOW)
    ratio = qis.synthesise(review, model="fixed").fixed
    yield from (network, transport, loop, store(), review, ratio)
    yield qis.DirectoryTransport(path / "shared", KEY)
    yield qis.UDPTransport(KEY, roster=qis.Roster.open())
    yield qis.blocking.SynthesisLoop(KEY, transport, SCHEME, interest=SCHEME.interest([1.0, 2.0]))
    with qis.Outbox(path / "outbox") as outbox:
        yield outbox
    yield qis.Disclosure.preset("cms")
    yield qis.Disclosure.preset("cms").preview(counts)
    yield EmissionLedger()
    yield PrivacyBudget(1.0)
    yield qis.FingerprintIndex(SCHEME)
    yield qis.Roster((qis.Site.of("<i>Ulm</i>", KEY.issuer),))
    yield qis.Roster.open()
    log = qis.AuditLog.open(path / "audit", now=NOW)
    yield log
    log.close()
    yield qis.AuditLog.read(path / "audit")
    yield inverse_variance(Y, SE)
    yield bayes(Y, SE)
    yield egger_test(Y, SE)
    yield heavy_tailed(Y, SE)
    yield influence(Y, SE)
    yield weighted_median(Y, SE)
    yield mantel_haenszel([3, 4], [40, 50], [9, 8], [41, 52])
    yield pool_profiles([counts])
    yield absolute_effect(ratio, baseline_risk=0.1)
    effect = qis.Effect(question="q", measure="OR", estimate=0.1, standard_error=0.2)
    yield shrink(effect, [effect] * 3)
    synthesis = qis.synthesise(review, model="random", tau_scale=0.5)
    yield from (synthesis.heterogeneity, *synthesis.sites, synthesis.reach)
    yield qis.synthesis.tipping_points(synthesis, missing=1)
    yield from (transport.statistics, loop.statistics, loop.health)
    yield qis.Health(state=qis.HealthState.DEGRADED, since=0.0, reasons=(REASON,))
    yield qis.loop.Undelivered(review[0], since=0.0, reason="<i>no</i>\n<b>no</b>")
    yield qis.evidence.Excluded(review[0], qis.evidence.Reason.UNTRUSTED, "<b>Ulm</b>")
    yield qis.Holding(is_held=False, reason="<b>nobody</b>")
    yield qis.loop.Match(packet=review[0], record=qis.Record(question="q", content={"<b>": "<i>"}))
    limits = {"interval": (-1.96, 1.96), "middle_half": (-0.67, 0.67)}
    yield qis.synthesis.Quantiles(mean=0.0, sd=1.0, median=0.0, **limits)
    yield from asyncio.run(waiting())


async def waiting():
    transport = qis.MemoryTransport(qis.MemoryNetwork(), KEY)
    async with qis.SynthesisLoop(
        KEY, transport, SCHEME, interest=SCHEME.interest([1.0, 2.0]), approve="manual"
    ) as loop:
        large = qis.Counts(question="<b>q</b>", events=30, total=400)
        await loop.publish(large, about=[1.0, 2.0])
        return (*loop.waiting(), loop.dry_run(large, about=[1.0, 2.0]))


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.words, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


WITHOUT_A_TABLE = (
    qis.MemoryNetwork,
    qis.Transport,
    qis.Outbox,
    qis.Disclosure,
    EmissionLedger,
    PrivacyBudget,
    qis.FingerprintIndex,
    qis.AuditLog,
)


def test_every_state_of_everything_has_its_words(tmp_path):
    seen = 0
    for thing in things(tmp_path):
        assert " at 0x" not in repr(thing)
        assert type(thing).__name__ in repr(thing)
        if isinstance(thing, WITHOUT_A_TABLE) or type(thing).__name__ == "AuditReader":
            continue
        seen += 1
        page = Texts()
        page.feed(thing._repr_html_())
        assert page.open == []
        assert page.words
        assert not page.tags & {"b", "i"}  # what a stranger has written is text
    assert seen >= 17


def test_stores_reviews_and_rosters_show_what_is_in_them():
    html = store().evidence("<b>q</b>", now=NOW)._repr_html_()
    assert html.count("<tr>") == 3
    assert "Effect" in html
    assert ">2<" in store()._repr_html_()
    assert "&lt;i&gt;Ulm" in qis.Roster((qis.Site.of("<i>Ulm</i>", KEY.issuer),))._repr_html_()


def test_what_waits_is_shown_whole_to_whoever_approves_it():
    pending, dry = asyncio.run(waiting())
    for thing, lines in ((pending, pending.preview), (dry, str(dry.preview))):
        html = thing._repr_html_()
        assert all(f"<p>{escape(line)}</p>" in html for line in lines.splitlines() if line)
        assert all(escape(line) in html for line in thing.explain.splitlines())


def test_reasons_of_a_state_are_shown_each_in_its_paragraph():
    health = qis.Health(state=qis.HealthState.DEGRADED, since=0.0, reasons=(REASON,) * 2)
    reason = "<p>the &lt;b&gt;disk&lt;/b&gt; is full</p>"
    assert health._repr_html_() == f"<p>degraded</p>{reason}{reason}"


def test_a_loop_shows_its_health():
    transport = qis.MemoryTransport(qis.MemoryNetwork(), KEY)
    loop = qis.SynthesisLoop(KEY, transport, SCHEME, interest=SCHEME.interest([1.0, 2.0]))
    assert "closed" in repr(loop)
    assert "closed" in loop._repr_html_()


def test_many_rows_are_counted_and_long_values_cut():
    html = grid_of({"a": list(range(60))}, "sixty")
    assert html.count("<td>") == 50
    assert "… and 10 more." in html
    assert text_of("x" * 500) == "x" * 120 + "…"
    assert text_of(None) == ""
    assert text_of((1.0, {"a": b"\x01"})) == "[1, a: 01]"
