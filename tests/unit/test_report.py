"""The report of a site: what is in it, what is not, and that the page is whole and asks nothing."""

import asyncio
import itertools
import re
import stat
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import qis
import qis.blocking
from qis.errors import DisclosureError, InputError, StorageError
from qis.site.document import Document, Paragraph, Rows, Section, Verbatim
from tests._builders import NOW, signed, until

NASTY = '<script>alert("x")</script> & co'
ABOUT = [0.2, -1.0, 0.7]
SITE = """
studies = ["study.toml"]
[identity]
file = "key.pem"
[roster]
file = "roster.toml"
[scheme]
kind = "vector"
dimensions = 3
secret_file = "secret"
[interest]
features = [0.2, -1.0, 0.7]
people = 0
[transport]
kind = "directory"
path = "exchange"
poll_s = 0.02
"""
VOID = {"meta", "rect", "polyline", "polygon", "circle"}


class Page(HTMLParser):
    """The page's tags, with what a reader of a screen needs of them; unbalanced tags raise."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.rules = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def home(tmp_path):
    identity, other = qis.Identity.generate(), qis.Identity.from_seed(bytes([7]) * 32)
    identity.save(tmp_path / "key.pem")
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("ab" * 32)
    (tmp_path / "study.toml").write_text(
        'question = "drug vs none | death"\nmeasure = "OR"\nmodel = "fixed"\n'
    )
    (tmp_path / "roster.toml").write_text(
        f"[[site]]\nname = '<b>Ulm</b>'\n[[site.key]]\nissuer = \"{identity.issuer}\"\n"
        f'[[site]]\nname = "Bern"\n[[site.key]]\nissuer = "{other.issuer}"\n'
    )
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "exchange").mkdir()
    return tmp_path


def effect(home, **rest):
    study = qis.Study.load(home / "study.toml")
    return qis.Effect(
        **{"study": study, "measure": "OR", "estimate": -0.3171, "standard_error": 0.25, "n": 400}
        | rest
    )


def report(home, *, small=True):
    """One outcome is published, one waits, and one is kept back; both forms of the report."""
    with qis.blocking.open_site(home / "site.toml") as site:
        site.publish(effect(home), about=ABOUT)
        site.release(site.waiting()[0].id, approver="Dr Grey")
        assert site.flush(20)
        site.publish(effect(home, study=None, question=NASTY), about=ABOUT)
        if small:
            with pytest.raises(DisclosureError):
                site.publish(
                    qis.Counts(
                        question="kept here",
                        events=7,
                        total=4_321,
                        control_events=12,
                        control_total=5_432,
                    ),
                    about=ABOUT,
                )
        next(found for found in site.syntheses(timeout_s=20) if found.sites)
        site.report(home / "report.html")
        site.report(home / "report.txt")
        (waiting,) = site.waiting()
    return (home / "report.html").read_text("utf-8"), (home / "report.txt").read_text(), waiting.id


def test_it_says_what_left_what_waits_what_was_kept_back_and_who_is_silent(home):
    html, text, waiting = report(home)
    for each in (html, text):
        assert waiting in each
        assert "Enrolled, and nothing has come from: Bern" in each
        assert "cms/minimum_cell" in each
        assert "Fixed effect" in each  # the plot
        assert "May be released" in each  # the preview
        assert "Dr Grey" not in each  # who approved is in the audit log
        # Of what a rule keeps back no number is told, as in the log.
        assert "4321" not in each
        assert "5432" not in each
    assert NASTY in text
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<b>Ulm" not in html
    head = qis.AuditLog.read(home / "audit.jsonl").verify()
    assert re.search(r"\d+:[0-9a-f]{64}", html)
    assert head.count >= int(re.search(r"(\d+):[0-9a-f]{64}", html)[1])
    for name in ("report.html", "report.txt"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600


def test_the_page_is_whole_loads_nothing_and_is_labelled(home):
    html, _, _ = report(home)
    page = Page(html)
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"} == set()
    assert all(each.get("href", "#").startswith("#") for each in page.all("a"))
    assert not re.search(r'url\(|@import|src=|(?<!xmlns=")https?://', html)
    assert "default-src 'none'" in page.all("meta")[1]["content"]
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) > 3
    assert {each["scope"] for each in page.all("th")} == {"col", "row"}
    targets = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {each["href"][1:] for each in page.all("a")} == targets
    assert all(each["aria-label"] for each in page.all("svg"))
    assert len(page.all("svg")) == 1


def test_a_study_under_embargo_shows_no_number(home):
    (home / "study.toml").write_text(
        (home / "study.toml").read_text() + "embargo_until = 2100-01-01\n"
    )
    html, text, _ = report(home, small=False)
    for each in (html, text):
        assert "Numbers are hidden until 2100-01-01" in each
    assert "Fixed effect" not in text
    assert "<svg" not in html


def model_report(home, *, embargo=""):
    """The report and metrics of a site whose model of two sites rests on its own rows too."""
    (home / "study.toml").write_text(
        'question = "age, sex | death"\nkind = "model"\nfamily = "logistic"\n'
        f'coefficients = ["intercept", "age", "sex"]\npurpose = "effect"\n{embargo}'
    )
    (home / "site.toml").write_text(
        f'{SITE}[disclosure]\npreset = "none"\n[loop]\napproval = "none"\n'
    )
    study = qis.Study.load(home / "study.toml")
    rng = np.random.default_rng(8)
    x = np.column_stack((rng.normal(size=500), rng.random(500) < 0.4)).astype(float)
    y = (rng.random(500) < 1 / (1 + np.exp(0.8 - x @ [0.9, 0.6]))).astype(float)
    here, there = (
        qis.ModelRows(features=x[part], labels=y[part]) for part in (slice(200), slice(200, 500))
    )
    other = signed(
        qis.Identity.from_seed(bytes([7]) * 32), there.for_study(study).answer(np.zeros(3))
    )

    async def run():
        async with qis.open_site(home / "site.toml", clock=lambda: NOW) as site:
            site.store.add(other, now=NOW)
            await site.join(study, here, about=ABOUT)
            await until(lambda: not site.is_synthesising)
            site.report(home / "report.html")
            site.report(home / "report.txt")
            return site.latest(study), site.metrics()

    model, metrics = asyncio.run(run())
    return model, metrics, (home / "report.html").read_text("utf-8"), home / "report.txt"


def test_a_model_is_shown_site_by_site_with_its_pictures_and_on_own_rows(home):
    model, metrics, html, text = model_report(home)
    assert [site.name for site in model.sites] == ["<b>Ulm</b>", "Bern"]
    Page(html)
    assert html.count("<svg") == 2  # age and sex
    said = text.read_text()
    for each in (model.state, "age, sex | death: sex", "All sites", "AUC", "calibration slope"):
        assert " ".join(each.split()) in " ".join(said.split())
    assert f"{model.coefficients[1]:.4g}" in said
    assert "Bern: 300 people" in said
    assert "There is no synthesis" not in said
    assert f'qis_models{{code="{model.code}"}} 1' in metrics


def test_a_model_under_embargo_shows_no_number(home):
    model, metrics, html, text = model_report(home, embargo="embargo_until = 2100-01-01\n")
    assert model is None
    assert "<svg" not in html
    assert "AUC" not in text.read_text()
    assert "before the end of its embargo" in text.read_text()
    assert not re.search(r"qis_models\{.*\} 1", metrics)


def test_a_site_that_nobody_has_used_has_a_report(home):
    async def write():
        async with qis.open_site(home / "site.toml") as site:
            site.report(home / "report.txt")
            with pytest.raises(StorageError, match="nowhere"):
                site.report(home / "nowhere" / "report.html")
            for write in (site.report, site.write_metrics):
                for wrong in (None, "", 3, b"report.html", ["report.html"], "a\0b", Path):
                    with pytest.raises(InputError, match="path"):
                        write(wrong)

    asyncio.run(write())
    text = (home / "report.txt").read_text()
    assert "There is no evidence yet." in text
    assert text.count("Nothing.") >= 3
    assert [path.name for path in home.glob("report*")] == ["report.txt"]


def test_a_damaged_audit_log_is_told_and_hides_nothing_else(home, faults):
    faults.allow("loop.")  # the loop tells it too, and nothing leaves
    report(home)
    log = home / "audit.jsonl"
    with qis.blocking.open_site(home / "site.toml") as site:
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join([*lines[:2], *lines[3:]]))
        site.report(home / "report.txt")
    text = (home / "report.txt").read_text()
    assert "! The audit log cannot be read" in text
    assert "May be released" in text


def test_what_is_wrong_stands_at_the_top(home, faults):
    faults.allow("directory.poll")  # the share is away
    with qis.blocking.open_site(home / "site.toml") as site:
        site.publish(effect(home), about=ABOUT)
        (home / "exchange").rename(home / "gone")
        (home / "exchange").write_text("no folder")
        site.release(site.waiting()[0].id, approver="Dr Grey")
        site.flush(0.3)
        site.report(home / "report.txt")
    needed = (home / "report.txt").read_text().partition("What needs somebody")[2]
    needed = needed.partition("What waits")[0]
    assert "! " in needed
    assert "Published, and held by no other site" in needed


@pytest.mark.parametrize("text", ["\x1b[31mred", "\u202eevil", "a\nb", "]]>", "' onload='x"])
def test_text_of_strangers_is_text_only(text):
    parts = [Paragraph(text), Verbatim(text, text), Rows(text, ("a", "b", "c"), [(text,) * 3])]
    page = Document(text, [Section(text, parts)])
    Page(page.html())
    for form in (page.html(), page.text()):
        assert not {"\x1b", "\u202e"} & set(form)
        assert "onload='" not in page.html()
