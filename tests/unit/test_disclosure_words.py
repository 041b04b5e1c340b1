"""Texts that name patients, and days on which rounded totals move."""

import dataclasses
import re
from datetime import UTC, date, datetime

import pytest

from qis.disclosure import PRESETS, Disclosure, IdentifierWarning, identifiers_in, rounded_counts
from qis.errors import DisclosureError, InputError
from qis.outcomes import Counts

NOW = datetime(2027, 3, 10, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "MRN 48213", "born 12.03.1956", "DOB 1956-03-12", "patient 4711", "pat-no 00123",
        "12 March 1956", "Mar 12, 1956", "SSN 123-45-6789", "NHS 943 476 5919",
        "j.doe@example.org", "id 10293847", "case #20391",
    ],
)  # fmt: skip
def test_what_names_a_patient_is_warned_of_and_not_quoted(text):
    gate = Disclosure.preset("cms")
    outcome = Counts(question=f"a vs b | {text}", events=40, total=100)
    with pytest.warns(IdentifierWarning, match="the question looks as if it held") as told:
        gate.release(outcome, now=NOW)
    assert all(text not in str(each.message) for each in told)
    assert any("the question looks as if" in line for line in gate.preview(outcome).learns)


@pytest.mark.parametrize(
    "text",
    [
        "interferon gamma vs placebo | first infection", "30-day death, 2019", "NCT01234567",
        "cohort 2015-2019", "847 people", "ICD-10 I21.4", "age 65-74", "phase 2/3", "ISIS-2 (1988)",
        "HbA1c < 7.5 %", "10 mg vs 20 mg", "HP:0001250 vs none", "1,234,567 person-years",
    ],
)  # fmt: skip
def test_years_doses_codes_and_registries_are_no_identifiers(text):
    assert identifiers_in(text) == []


def test_patterns_are_the_sites_choice():
    outcome = Counts(question="a vs b | MRN 48213", events=40, total=100)
    Disclosure(PRESETS["cms"], identifiers={}).release(outcome, now=NOW)
    own = Disclosure(PRESETS["cms"], identifiers={"a ward": re.compile("ward [A-Z]")})
    with pytest.warns(IdentifierWarning, match="a ward"):
        own.release(dataclasses.replace(outcome, cohort="ward B"), now=NOW)


def rounded(events):
    counts = Counts(question="q", events=events, total=200, control_events=60, control_total=200)
    return rounded_counts(counts, PRESETS["nhs"])


def refusal(gate, outcome, now, who):
    try:
        gate.release(outcome, now=now, subjects=who)
    except DisclosureError as error:
        return error
    return None


def test_a_rounded_total_moves_on_declared_days_only():
    gate = Disclosure.preset("nhs", release_dates=[date(2027, 4, 1)])
    who = {bytes([nth // 256, nth % 256]): b"" for nth in range(400)}
    more = {bytes([nth // 256, nth % 256]): b"" for nth in range(440)}
    assert refusal(gate, rounded(50), NOW, who) is None  # the first release
    assert refusal(gate, rounded(50), NOW + 86_400, who) is None  # it has not moved
    error = refusal(gate, rounded(70), NOW + 86_400, more)
    assert error.field == "release_date"
    assert "2027-04-01" in str(error)
    april = datetime(2027, 4, 1, 23, tzinfo=UTC).timestamp()
    assert refusal(gate, rounded(70), april, more) is None


def test_without_declared_days_a_rounded_total_does_not_move():
    gate = Disclosure.preset("nhs")
    who = {bytes([nth // 256, nth % 256]): b"" for nth in range(400)}
    gate.release(rounded(50), now=NOW, subjects=who)
    assert "none is declared" in str(
        refusal(gate, rounded(80), NOW + 1e7, dict(list(who.items())[:360]))
    )
    with pytest.raises(InputError, match="datetime"):
        Disclosure(PRESETS["nhs"], release_dates=[datetime(2027, 4, 1, tzinfo=UTC)])
