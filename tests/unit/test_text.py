"""What a text may hold: frozen numbers, checked against Unicode's own files, in every Python."""

import itertools
import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import qis
from qis.errors import InputError
from qis.outcomes import _characters, _text
from qis.outcomes._text import normal_text

ROOT = Path(__file__).parents[2]
OUTSIDE = json.loads((ROOT / "tests/data/unicode.json").read_text(encoding="ascii"))
PAGE = (ROOT / "docs/packet-format.md").read_text(encoding="utf-8")
JOINERS = {0x200C, 0x200D}
BLANKS = {0x2800, 0x1D159, 0x16FE4, *range(0xFFF9, 0xFFFD), *range(0x13430, 0x13440)}
LOOK_ALIKES = [
    "north\u200b",
    "no\u00adrth",
    "n\u2060orth",
    "north\ufe0f",
    "north\u3164",
    "north\u2800",
    "no\u034frth",
    "north\U000e0041",
    "no\u200drth",
    "no\u200crth",
    "\ufeffnorth",
    "north\u180e",
]


def codes(written):
    found = set()
    for first, last in re.findall(r"([0-9A-Fa-f]+)(?:-([0-9A-Fa-f]+))?", written):
        found |= set(range(int(first, 16), int(last or first, 16) + 1))
    return found


def refused():
    return {c for first, last in _characters.refused_ranges() for c in range(first, last + 1)}


def test_the_frozen_numbers_are_those_of_unicode():
    white = codes(OUTSIDE["white_space"])
    assigned = codes(" ".join(OUTSIDE["assigned_in_14"]))
    controls = {*range(0x20), *range(0x7F, 0xA0)}
    surrogates, private = {*range(0xD800, 0xE000)}, {*range(0xE000, 0xF900)}
    planes = {*range(0xF0000, 0x110000)}
    none = {c for c in range(0x110000) if 0xFDD0 <= c <= 0xFDEF or c & 0xFFFE == 0xFFFE}
    expected = {*range(0x110000)} - assigned
    expected |= controls | surrogates | private | planes | none | BLANKS
    expected |= codes(OUTSIDE["default_ignorable"])
    assert refused() == expected - white - JOINERS
    assert {c for c in range(0x110000) if re.match(f"[{_characters.WHITE_SPACE}]", chr(c))} == white


def test_the_joining_letters_are_those_of_unicode():
    arabic = map(chr, range(0x600, 0x700))
    dual = {ord(c) for c in arabic if _characters.joiner_without_use(f"{c}\u200c\u0628") is None}
    assert dual == codes(OUTSIDE["joining_D"])
    arabic = map(chr, range(0x600, 0x700))
    after = {ord(c) for c in arabic if _characters.joiner_without_use(f"\u0628\u200c{c}") is None}
    assert after == codes(OUTSIDE["joining_D"]) | codes(OUTSIDE["joining_R"])


def test_the_page_has_the_same_numbers():
    listed = (ROOT / "docs/packet-format-characters.txt").read_text(encoding="ascii").splitlines()
    pairs = [tuple(int(end, 16) for end in row.split()) for row in listed if row[0] != "#"]
    assert pairs == _characters.refused_ranges()
    unseen = PAGE.partition("what nobody sees:")[2].partition("(Default")[0]
    shown = codes(unseen.replace("U+", "").replace("\u2013", "-"))
    assert shown == (codes(OUTSIDE["default_ignorable"]) | BLANKS) - JOINERS
    schema = (ROOT / "docs/packet-format.cddl").read_text(encoding="ascii")
    unseen = re.sub(r"\n; ", " ", schema).partition("invisible ones:")[2].partition(")")[0]
    assert codes(unseen) == shown
    folded = PAGE.partition("each run of")[2].partition("by one")[0]
    assert codes(folded.replace("U+", "").replace("\u2013", "-")) == codes(OUTSIDE["white_space"])


@pytest.mark.parametrize("cohort", LOOK_ALIKES, ids=ascii)
def test_a_cohort_that_only_looks_like_another_is_refused(cohort):
    with pytest.raises(InputError, match=r"holds the character U\+"):
        qis.Suppressed(question="a vs b | death", cohort=cohort)


@pytest.mark.parametrize("space", [chr(code) for code in sorted(codes(OUTSIDE["white_space"]))])
def test_white_space_is_folded(space):
    assert normal_text(f"{space}a{space} {space}b{space}", "x", 48) == "a b"


@pytest.mark.parametrize("control", "\x1c\x1d\x1e\x1f\x00\x7f\x9f")
def test_a_control_character_is_no_white_space(control):
    with pytest.raises(InputError, match="U\\+00"):
        normal_text(f"a{control}b", "x", 48)


@pytest.mark.parametrize(
    "text",
    [
        "می‌شود",  # Persian: "becomes"
        "بیماران قلبی‌عروقی",  # Persian: cardiovascular patients
        "क्‍ष",  # Hindi: the half form of ka before ssa
        "हृदय की विफलता",  # Hindi: heart failure
        "ශ්‍රී",  # Sinhala: Sri
        "ক্‌ষ",  # Bengali
        "র‍্যাব",  # Bengali: ra with ya-phalaa
        "ৰ‍্যালী",  # Assamese: rally
        "naïve Kohorte, 北京, 서울, Ελλάς, Россия, ישראל, 👩 ②",
    ],
)
def test_what_people_write_travels(text):
    assert normal_text(text, "x", 96) == unicodedata.normalize("NFC", text)


BENGALI = "\u0995\u09b0\u09f0\u09af\u09cd\u200c\u200d\u09be"


def shown_in_bengali(text):
    """What is seen, as far as a joiner before a virama goes: without those that do nothing.

    Ra begins a conjunct, and is a reph there, unless a virama binds it to what is before.
    """
    seen, is_bound = [], False
    for at, char in enumerate(text):
        if char == "\u200d" and text[at + 1 : at + 2] == "\u09cd":
            could_be_reph = text[at - 1 : at] in ("\u09b0", "\u09f0") and not is_bound
            if not (could_be_reph and text[at + 2 : at + 3] == "\u09af"):
                continue
        elif char in "\u0995\u09b0\u09f0\u09af":
            is_bound = text[:at].rstrip("\u200c\u200d").endswith("\u09cd")
        seen.append(char)
    return "".join(seen)


def collisions(without_use):
    """Pairs of accepted texts of up to six characters that look alike."""
    accepted, found = {}, []
    for size in range(1, 7):
        for text in map("".join, itertools.product(BENGALI, repeat=size)):
            if "\u200d\u09cd" in text and without_use(text) is None:
                found += [(text, former) for former in accepted.get(shown_in_bengali(text), ())]
                accepted.setdefault(shown_in_bengali(text), []).append(text)
    for shown, texts in accepted.items():
        plain = shown not in texts and without_use(shown) is None
        found += [(text, shown) for text in texts if plain]
    return found


def test_no_two_bengali_texts_differ_by_a_joiner_that_changes_nothing(monkeypatch):
    assert collisions(_characters.joiner_without_use) == []
    lax = re.compile(_characters._seen_joiners().pattern.replace("(?<![\u09cd\u200c\u200d])", ""))
    monkeypatch.setattr(_characters, "_seen_joiners", lambda: lax)
    assert collisions(_characters.joiner_without_use)  # the search finds what it looks for


@pytest.mark.parametrize("newer", ["\U000105c9", "\U0001fae8", "e\U00010efd\u0301"])
def test_what_unicode_14_does_not_know_is_refused_by_every_python(newer):
    # NFC of the last differs between Python 3.11 and 3.12: accepting it would let one signed packet
    # be evidence at one site and malformed at another.
    with pytest.raises(InputError, match=r"newer than Unicode 14\.0"):
        normal_text(newer, "x", 48)


def test_the_verdict_does_not_ask_which_unicode_python_has(monkeypatch):
    class NoOther:
        normalize = staticmethod(unicodedata.normalize)

    monkeypatch.setattr(_text, "unicodedata", NoOther)
    assert normal_text("Süd \u3000 a", "x", 48) == "Süd a"


@given(st.text(max_size=30))
def test_a_normal_text_is_normal(text):
    try:
        once = normal_text(text, "x", 480)
    except InputError:
        return
    assert normal_text(once, "x", 480) == once
    assert not refused_or_space(once)


def refused_or_space(text):
    spaces = codes(OUTSIDE["white_space"]) - {0x20}
    return [c for c in text if ord(c) in spaces or _characters.refused_in(c)]
