"""Which body fits with which question and cohort: computed, and what docs/packet-format.md says.

After a change: python tests/unit/test_what_fits.py prints the table.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import qis
from qis import _layout
from qis.errors import OutcomeTooLargeError
from qis.outcomes import Anchor, Derived, Moments, QuadraticLikelihood, Record, Suppressed

PAGE = Path(__file__).parents[2] / "docs" / "packet-format.md"
BEGIN, END = "<!-- what fits: begin -->", "<!-- what fits: end -->"
NAMES = {
    "question of 10": ("q" * 10, ""),
    "of 48": ("q" * 48, ""),
    "and cohort of 24": ("q" * 48, "c" * 24),
}
MOST = 2**32 - 1


def quadratic(size, people, log_likelihood=None):
    def build(question, cohort):
        outcome = QuadraticLikelihood.from_terms(
            question=question,
            cohort=cohort,
            model="logistic",
            score=np.ones(size),
            information=np.eye(size) + 0.5,
            anchor=np.zeros(size),
            n=people,
            events=people,
        )
        return replace(outcome, study_id=outcome.study_id, log_likelihood=log_likelihood)

    return build


def profile(question, cohort):
    return qis.LikelihoodProfile.from_function(
        question=question,
        cohort=cohort,
        measure="HR",
        log_likelihood=lambda x: -((x - 0.3) ** 2),
        n=MOST,
        events=MOST,
        protection="p" * 24,
    )


def plain(cls, **fields):
    return lambda question, cohort: cls(question=question, cohort=cohort, **fields)


BODIES = {
    "Effect": plain(qis.Effect, measure="OR", estimate=0.1, standard_error=0.2, n=MOST),
    "Counts, two arms with person-time": plain(
        qis.Counts,
        events=2**31 - 1,
        total=2**31 - 1,
        control_events=2**31 - 1,
        control_total=2**31 - 1,
        person_time=1.0,
        control_person_time=1.0,
    ),
    "Moments, two arms": plain(
        Moments,
        total=MOST,
        mean=0.1,
        ss=0.1,
        control_total=MOST,
        control_mean=0.1,
        control_ss=0.1,
    ),
    "LikelihoodProfile": profile,
    "QuadraticLikelihood, 12 coefficients": quadratic(12, MOST),
    "QuadraticLikelihood, 12 coefficients and log-likelihood": quadratic(12, MOST, -0.1),
    "QuadraticLikelihood, 13 coefficients": quadratic(13, MOST),
    "QuadraticLikelihood, 13 coefficients and log-likelihood": quadratic(13, MOST, -0.1),
    "QuadraticLikelihood, 14 coefficients, n < 65,536": quadratic(14, 2**16 - 1),
    "Record, a text of 200 bytes": plain(Record, content={"x": "t" * 200}),
    "Anchor, 14 coefficients": plain(Anchor, model="cox", coefficients=(0.1,) * 14),
    "Derived": plain(
        Derived, measure="OR", model="fixed", estimate=0.1, standard_error=0.2, sites=MOST
    ),
    "Retraction": plain(qis.Retraction, reason="error"),
    "Suppressed": plain(Suppressed),
}


def table():
    lines = [f"| body | {' | '.join(NAMES)} |", "| --- " * (len(NAMES) + 1) + "|"]
    for name, build in BODIES.items():
        cells = []
        for question, cohort in NAMES.values():
            size = len(build(question, cohort).encoded())
            cell = str(size) if size <= _layout.BODY_ROOM else f"{size}, does not fit"
            if name == "Derived":
                cell += f" and {most_leaves(build(question, cohort))} leaves"
            cells.append(cell)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sign(outcome, leaves=()):
    return qis.Packet.sign(
        qis.Identity.from_seed(bytes(32)),
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=1_800_000_000,
        lifetime_s=60,
        leaves=leaves,
    )


def most_leaves(outcome):
    count = 0
    while True:
        try:
            sign(outcome, [number.to_bytes(12, "big") for number in range(count + 1)])
        except OutcomeTooLargeError:
            return count
        count += 1


def test_the_page_says_what_is_so():
    page = PAGE.read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0].strip() == table()


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("texts", NAMES.values(), ids=NAMES)
def test_what_fits_can_be_signed_and_what_does_not_is_refused_with_the_sum(name, texts):
    outcome = BODIES[name](*texts)
    size = len(outcome.encoded())
    if size <= _layout.BODY_ROOM:
        assert qis.Packet.parse(bytes(sign(outcome))).outcome == outcome
        return
    with pytest.raises(OutcomeTooLargeError, match="311") as caught:
        sign(outcome)
    assert (caught.value.actual, caught.value.limit) == (size, 311)


def test_the_byte_table_is_that_of_the_layout():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and line.split("|")[1].strip().isdecimal()
    ]
    offsets = {int(row[0]): (int(row[1]), row[2]) for row in rows if row[1].isdecimal()}
    fields = {
        "issuer": _layout.ISSUER,
        "exp": _layout.EXPIRES_AT,
        "iat": _layout.ISSUED_AT,
        "sketch": _layout.SKETCH,
        "scheme id": _layout.SCHEME_ID,
        "kind": slice(_layout.KIND, _layout.KIND + 1),
        "sequence": _layout.SEQUENCE,
        "signature": _layout.SIGNATURE,
    }
    for name, span in fields.items():
        size, words = offsets[span.start]
        assert size == span.stop - span.start, name
        assert name in words.lower(), name
    for span, constant in _layout.BETWEEN:
        size, words = offsets[span.start]
        assert (size, words.replace("`", "").replace(" ", "")) == (
            span.stop - span.start,
            constant.hex(),
        )
    covered = sum(size for size, _ in offsets.values())
    assert covered + (446 - _layout.BODY_START - 1) == 512


if __name__ == "__main__":
    print(table())  # noqa: T201  a command
