"""What a prompt and a notebook show: no address in memory, and a table of what matters."""

import enum
import importlib
import inspect
import pkgutil
from html.parser import HTMLParser

import pytest

import qis
import qis.blocking
from qis.disclosure import EmissionLedger, PrivacyBudget
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
