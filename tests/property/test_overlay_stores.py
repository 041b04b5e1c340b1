"""The store of subscriptions against a dict of (subscriber, key) to expiry."""

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from qis.overlay.subscription import Subscription
from qis.overlay.subscription_table import LIFETIME_S, SubscriptionTable

KEYS = [bytes([i]) * 8 for i in range(4)]


class SubscriptionTableAgainstDict(RuleBasedStateMachine):
    """Subscriptions in any order, old and new, withdrawn, expired and tidied."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.subscription_table = SubscriptionTable()
        self.model = {}
        self.newest = {}

    @rule(
        who=st.sampled_from([b"1", b"2", b"3"]),
        sequence=st.integers(1, 6),
        keys=st.sets(st.sampled_from(KEYS)).map(lambda k: tuple(sorted(k))),
        lifetime_s=st.sampled_from([0, 100, LIFETIME_S, 60_000]),
        key_bits=st.integers(0, 15),
    )
    def put(self, who, sequence, keys, lifetime_s, key_bits):
        subscription = Subscription(
            record=who * 122, sequence=sequence, lifetime_s=lifetime_s, keys=keys, is_open=15
        )
        newest, until = self.newest.get(who, (0, 0.0))
        held = self.subscription_table.put(subscription, key_bits, self.now)
        # Within the longest lifetime no older one comes back; afterwards it may.
        if sequence < newest and self.now < until:
            assert not held
        if not held:
            assert sequence < newest
            return
        life = min(lifetime_s, LIFETIME_S)
        until = max(until, self.now + (life or LIFETIME_S))
        self.newest[who] = (sequence, until)
        for pair in [p for p in self.model if p[0] == who and (not life or p[1] not in keys)]:
            del self.model[pair]
        if life:
            for i, key in enumerate(keys):
                if key_bits >> i & 1:
                    self.model[who, key] = self.now + life

    @rule(seconds=st.floats(0.0, 2_000.0))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def tidy(self):
        self.subscription_table.expire(self.now)
        assert len(self.subscription_table) == sum(at > self.now for at in self.model.values())

    @invariant()
    def the_same_are_held(self):
        for key in KEYS:
            found = {s.subscriber[:1] for s in self.subscription_table.under(key, self.now)}
            assert found == {w for (w, k), at in self.model.items() if k == key and at > self.now}


TestSubscriptionTable = SubscriptionTableAgainstDict.TestCase
TestSubscriptionTable.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
