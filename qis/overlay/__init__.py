"""The overlay: finds the relevant peers in O(log N) steps; sans-IO.

Bytes, an address and `now` go in; datagrams, the time of the next timer, and events come out.
Chance is injected: one seed, one history. See docs/overlay.md.
"""
