"""Bounded memories against lists that say what they ought to hold."""

from hypothesis import given, settings, strategies as st

from qis.overlay.lru_cache import LruCache
from qis.overlay.shares import Shares

few = st.integers(0, 9).map(lambda i: bytes([i]))


@given(limit=st.integers(1, 6), puts=st.lists(st.tuples(few, st.integers()), max_size=40))
def test_recent_entries_are_those_put_last(limit, puts):
    recent, model = LruCache(limit), []
    for key, value in puts:
        recent.put(key, value)
        model = [entry for entry in model if entry[0] != key] + [(key, value)]
        model = model[-limit:]
        assert list(recent.items()) == model


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), few, st.booleans())))
def test_who_has_most_loses_the_oldest(steps):
    shares, model = Shares(), []
    for owner, item, is_new in steps:
        entry = (owner, owner + item)
        if is_new and entry not in model:
            shares.add(*entry)
            model.append(entry)
        elif not is_new and entry in model:
            shares.remove(*entry)
            model.remove(entry)
        if model:
            counts = {name: sum(o == name for o, _ in model) for name, _ in model}
            found = shares.oldest_of_most()
            owner_of = {i: o for o, i in model}[found]
            assert counts[owner_of] == max(counts.values())
            assert found == next(i for o, i in model if o == owner_of)
    for entry in model:
        shares.remove(*entry)
    assert not shares._items
    assert not shares._owners
