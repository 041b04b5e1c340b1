"""Disclosure control: what a rule keeps at the site, what it would have revealed, the ways out.

The hospitals' patients are of a published trial, so what the rules would hide can be shown here.
"""

from cgd import evidence_of, likelihood_of, patients

import qis
from qis.disclosure import subject_hashes
from qis.errors import DisclosureError

gate = qis.Disclosure.preset("cms")  # the default: nothing that shows 1 to 10 people


def ask(what: str, rules: qis.Disclosure, outcome: object, **about: object) -> None:
    """Whether the rules let it out."""
    try:
        rules.check(outcome, **about)
    except DisclosureError as error:
        print(f"{what}: kept back, rule {error.field}, {error.actual} where {error.limit} is least")
    else:
        print(f"{what}: may be released")


mine = evidence_of("NIH")
ask("NIH's profile under cms", gate, mine)
print("What an outsider could learn from it:")
for sentence in gate.preview(mine).learns:
    print(f"- {sentence}")

print("\nNo way out: another kind of outcome has the same cells in it.")
counts = qis.Counts(question="infection", events=5, total=15, control_events=7, control_total=11)
ask("NIH's counts", gate, counts)
ask("an odds ratio from them", gate, counts.effect("OR"))

print("\nWay out 1, say that there is something, so that nobody takes silence for nothing:")
print(f"{type(gate.or_suppressed(mine)).__name__} is published in its place, and listed by all")

print("\nWay out 2, a lower preset, in a closed roster under an agreement:")
ask("NIH's counts under datashield (3)", qis.Disclosure.preset("datashield"), counts)

print("\nWay out 3, more people, or sites that pool among themselves before the release:")
rows = patients()
everybody = likelihood_of(rows)
people = subject_hashes([str(number) for number in range(len(rows))], key=bytes(32))
ask("the 13 hospitals together", gate, everybody, subjects=people)
gate.release(everybody, now=1_800_000_000, subjects=people)

print("\nAfterwards, a version with one patient fewer would give that patient away:")
fewer = dict(list(people.items())[1:])
ask("127 of the 128", gate, likelihood_of(rows[1:]), subjects=fewer)
