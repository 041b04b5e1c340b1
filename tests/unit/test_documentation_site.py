"""The documentation site builds without a warning, and its reference has every public name."""

import importlib
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import qis

ROOT = Path(__file__).parents[2]
FACES = re.findall(
    r"automodule:: (\S+)", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    built = subprocess.run(  # noqa: S603  our own interpreter
        [*command, str(ROOT / "docs"), str(made)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (built.returncode, built.stderr) == (0, "")
    return made


def inventory(site):
    """Names that the site documents; the file is four lines of head, then zlib (Sphinx, v2)."""
    data = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(data).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines if " py:" in line}


def test_every_public_name_is_in_the_reference(site):
    documented = {name.rpartition(".")[2] for name in inventory(site)}
    assert len(documented) > 300
    assert set(qis.__all__) - documented == set()
    for face in FACES:
        names = getattr(importlib.import_module(face), "__all__", ())
        assert set(names) - documented == set(), face


def test_every_page_can_be_reached_and_no_link_leads_nowhere(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert len(pages) > 20
    for page in pages:
        text = (site / page).read_text(encoding="utf-8")
        here = Path(page).parent
        for link in re.findall(r'<a [^>]*href="([^"#:?]+\.html)(?:#[^"]*)?"', text):
            target = (site / here / link).resolve()
            assert target.is_file(), (page, link)


def paragraphs_of(page):
    """The paragraphs and list items of a page, each with the number of its first line."""
    found, is_code = [], False
    for number, line in enumerate(page.splitlines(), 1):
        text = line.strip()
        is_fence = text.startswith("```")
        is_code ^= is_fence
        if is_fence or is_code or not text or text.startswith(("|", "#", "<!--")):
            found.append((number, ""))
        elif re.match(r"([-*]|\d+\.) ", text):
            found.append((number, text))
        else:
            start, former = found.pop() if found and found[-1][1] else (number, "")
            found.append((start, f"{former} {text}"))
    return [(number, text) for number, text in found if text]


def shown(text):
    """A paragraph as it is read: without addresses of links and marks of code."""
    return re.sub(r"\]\([^)]*\)|[\[`*]", "", text)


PAGES = sorted(set(ROOT.glob("docs/**/*.md")) - {ROOT / "docs" / "claims.md"})
"""All but one that a benchmark writes."""


STILL_LONG = {"direct.md", "disclosure.md", "fingerprints.md"}
"""Pages that have one or two longer paragraphs left, which are to be split."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_paragraph_is_longer_than_five_lines(page):
    """Lines of 140 characters, as in the pages' sources."""
    long = {
        number: len(shown(text))
        for number, text in paragraphs_of(page.read_text(encoding="utf-8"))
        if len(shown(text)) > 5 * 140
    }
    assert len(long) <= 2 * (page.name in STILL_LONG)


def test_a_long_paragraph_is_seen():
    page = "# A\n\n" + "word " * 50 + "\n\n```\n" + "word " * 500 + "\n```\n- " + "word\n" * 141
    assert [(n, len(shown(text)) > 700) for n, text in paragraphs_of(page)] == [
        (3, False),
        (8, True),
    ]
