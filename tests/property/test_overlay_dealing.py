"""However many subscribers, each is dealt to exactly one relay, and no relay has too many."""

from collections import Counter
from math import ceil, isqrt, sqrt

from hypothesis import given, settings, strategies as st

from qis.overlay.record import Contact, NodeRecord
from qis.overlay.relaying import DIRECT_LIMIT, dealt


def contact_of(number):
    key = number.to_bytes(32)
    return Contact(number, NodeRecord(key=key, sequence=1, address=bytes(18), signature=b""))


@given(st.integers(0, 3_000), st.integers(0, 255))
@settings(max_examples=50, deadline=None)
def test_each_receiver_is_in_one_group_and_no_group_is_larger_than_the_root(number, salt):
    receivers = [contact_of(i) for i in range(number)]
    groups = dealt(b"p" * 32, salt, receivers)
    assert Counter(c.id for group in groups for c in group) == Counter(range(number))
    assert all(len(group) - 1 <= ceil(sqrt(number)) + 1 for group in groups)
    if number <= DIRECT_LIMIT:
        assert all(len(group) == 1 for group in groups)
    else:
        assert len(groups) == isqrt(number) + 1
        sizes = {len(group) for group in groups}
        assert max(sizes) - min(sizes) <= 1
