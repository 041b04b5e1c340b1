"""However many subscribers, each is dealt to exactly one relay, and no relay has too many."""

from collections import Counter
from math import ceil, isqrt, sqrt

from hypothesis import given, settings, strategies as st

from qis.overlay.record import Contact, NodeRecord
from qis.overlay.relaying import DIRECT_LIMIT, dealt


def contact_of(number):
    key = number.to_bytes(32)
    return Contact(number, NodeRecord(key=key, sequence=1, address=bytes(18), signature=b""))


@given(st.integers(0, 2_500), st.integers(0, 255), st.integers(1, 4), st.randoms())
@settings(max_examples=60, deadline=None)
def test_each_receiver_is_in_one_group_and_no_group_is_larger_than_the_root(
    number, salt, most_shared, rng
):
    receivers = {contact_of(i): rng.randint(1, most_shared) for i in range(number)}
    groups = dealt(b"p" * 32, salt, receivers)
    assert Counter(c.id for group in groups for c in group) == Counter(range(number))
    assert all(len(group) - 1 <= ceil(sqrt(number)) + 1 for group in groups)
    assert len(groups) <= DIRECT_LIMIT + isqrt(number) + 1
    if number <= DIRECT_LIMIT:
        assert all(len(group) == 1 for group in groups)
    elif most_shared == 1:
        assert len(groups) == isqrt(number) + 1
        sizes = {len(group) for group in groups}
        assert max(sizes) - min(sizes) <= 1


@given(st.integers(DIRECT_LIMIT + 1, 1_000), st.integers(1, DIRECT_LIMIT + 20), st.randoms())
@settings(max_examples=30, deadline=None)
def test_who_shares_more_than_most_do_has_it_from_the_holder(number, near, rng):
    near = min(near, (number - 1) // 2)
    receivers = {contact_of(i): 1 for i in range(number)}
    for contact in rng.sample(sorted(receivers, key=lambda c: c.id), near):
        receivers[contact] = rng.randint(2, 5)
    groups = dealt(b"p" * 32, 0, receivers)
    direct = groups[: min(near, DIRECT_LIMIT)]
    assert all(len(group) == 1 for group in direct)
    nearest = sorted((receivers[group[0]] for group in direct), reverse=True)
    assert nearest == sorted(receivers.values(), reverse=True)[: len(direct)]
    assert len(groups) == len(direct) + isqrt(number - len(direct)) + 1
