"""What is on the wire tells nobody a secret: an attack that works where secrets come from `rng`.

A peer on the roster calls 624 times. The session numbers in the answers are 32 bits each of a
Mersenne Twister (Matsumoto and Nishimura, 1998), if that is what `rng` is: its whole state. Run
backwards, it gives what was drawn before, and so a cookie key that came from it.
"""

import asyncio
import random
import secrets
from collections import Counter

from blake3 import blake3

import qis
from qis._guard import Guard
from qis.channel import Channels
from qis.channel.ciphers import new_key_pair
from qis.channel.cookies import CALM_RATE, Cookies
from qis.channel.handshake import COOKIE, RESPONSE, Initiation, Response, decode_cookie
from qis.overlay.rpc import Rpc
from qis.overlay.timers import Timers
from qis.overlay.tokens import Tokens

NOW = 1_800_000_000.0
SITE, CALLER = (qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
ADDRESS = bytes(range(18))
WORDS = 624
_MAGIC = 0x9908B0DF


def untempered(output):
    """The state's word that an output of 32 bits was made of."""
    word = output ^ output >> 18
    word ^= word << 15 & 0xEFC60000
    found = word
    for _ in range(4):
        found = word ^ (found << 7 & 0x9D2C5680)
    word = found
    for _ in range(2):
        found = word ^ found >> 11
    return found & 0xFFFFFFFF


def rewound(words, count):
    """The `count` words before these 624, oldest first."""
    words = list(words)

    def joined(later, earlier):  # upper bit of one word, and lower bits of the next
        mixed = later ^ earlier
        return (mixed ^ _MAGIC) << 1 | 1 if mixed >> 31 else mixed << 1

    for _ in range(count):
        upper = joined(words[623], words[396]) & 0x80000000
        lower = joined(words[622], words[395]) & 0x7FFFFFFF
        words = [upper | lower, *words[:623]]
        yield words[0]


def generator(words):
    """Python's generator as it stands after these 624 words."""
    found = random.Random()
    found.setstate((3, (*words, WORDS), None))
    return found


def keys_drawn_before(outputs, count):
    """What `randbytes(32)` can have given in the `count` draws before these outputs."""
    words = [untempered(output) for output in outputs]
    before = list(rewound(words, count))[::-1] + words
    tempered = [tempered_word(word) for word in before[: count + 8]]
    for start in range(count):
        yield b"".join(word.to_bytes(4, "little") for word in tempered[start : start + 8])


def tempered_word(word):
    word ^= word >> 11
    word ^= word << 7 & 0x9D2C5680
    word ^= word << 15 & 0xEFC60000
    return (word ^ word >> 18) & 0xFFFFFFFF


def answers(channels, calls, *, apart_s, now=NOW):
    """What a node answers to so many calls of a site on its roster."""
    found = []
    for number in range(calls):
        at = now + number * apart_s
        unsigned = Initiation(
            session=number,
            ephemeral=new_key_pair()[0],
            key=CALLER.issuer.key,
            time_ms=int(at * 1000) + number,  # each newer: an older one is a replay
        )
        signature = CALLER.sign(unsigned.signed_part(SITE.issuer.key))
        fields = (unsigned.session, unsigned.ephemeral, unsigned.key, unsigned.time_ms)
        names = ("session", "ephemeral", "key", "time_ms")
        call = Initiation(**dict(zip(names, fields, strict=True)), signature=signature)
        channels.receive(call.encode(), ADDRESS, at)
        found += [data for data, _ in channels.datagrams()]
    return found


def attack(channels):
    """(session numbers seen, at least one more than needed; a cookie; when it was given)."""
    seen = answers(channels, WORDS, apart_s=2 / CALM_RATE)
    later = NOW + 1_000.0
    seen += answers(channels, round(2 * CALM_RATE), apart_s=0.0, now=later)  # too many at once
    numbers = [Response.decode(data).session for data in seen if data[0] == RESPONSE]
    cookies = [decode_cookie(data)[1] for data in seen if data[0] == COOKIE]
    assert len(numbers) > WORDS
    return numbers, cookies[0], later


def next_number(numbers):
    """What the generator that gave 624 numbers gives next."""
    return generator([untempered(number) for number in numbers[:WORDS]]).getrandbits(32)


def broken(channels):
    """The key of the cookies, if the attack finds it."""
    numbers, cookie, at = attack(channels)
    for key in keys_drawn_before(numbers[:WORDS], 64):
        if Cookies(key).cookie(ADDRESS, at) == cookie:
            return key
    return None


def node(rng, secret):
    return Channels(SITE, accepts=lambda _: True, rng=rng, secret=secret)


def test_the_attack_finds_a_cookie_key_that_came_from_the_generator_of_numbers():
    rng = random.Random(secrets.randbits(256))  # as it was
    rng.randbytes(32 + 8)  # the tokens' key and the holder's epoch came first
    key = rng.randbytes(32)
    rng.uniform(0.8, 1.2)  # and something of the node's after it
    channels = node(rng, key)
    assert broken(channels) == key


def test_a_secret_of_its_own_is_not_found_even_where_the_generator_is():
    rng, key = random.Random(5), secrets.token_bytes(32)
    channels = node(rng, key)
    numbers, cookie, at = attack(channels)
    assert next_number(numbers) == numbers[WORDS]  # the attack has the generator
    assert cookie == Cookies(key).cookie(ADDRESS, at)
    assert all(
        Cookies(found).cookie(ADDRESS, at) != cookie
        for found in keys_drawn_before(numbers[:WORDS], 64)
    )


def test_what_a_udp_node_shows_foretells_nothing():
    async def scenario():
        async with qis.UDPTransport(SITE, roster=qis.Roster.open()) as transport:
            return transport._channels, transport._node

    channels, overlay = asyncio.run(scenario())
    numbers, cookie, at = attack(channels)
    assert next_number(numbers) != numbers[WORDS]
    keys = list(keys_drawn_before(numbers[:WORDS], 64))
    assert all(Cookies(key).cookie(ADDRESS, at) != cookie for key in keys)
    token = overlay._tokens.token(ADDRESS, at)
    assert all(Tokens(key).token(ADDRESS, at) != token for key in keys)
    requests = b"".join(overlay._rpc.new_number() for _ in range(WORDS // 2))
    words = [int.from_bytes(requests[at : at + 4], "little") for at in range(0, 4 * WORDS, 4)]
    foretold = generator([untempered(word) for word in words])
    assert foretold.randbytes(8) != overlay._rpc.new_number()


def test_numbers_of_requests_come_from_a_key_and_never_twice():
    def numbers(key):
        rpc = Rpc(Timers(Guard()), random.Random(0), key)
        return [rpc.new_number() for _ in range(2_000)]

    assert numbers(bytes(32)) == numbers(bytes(32))  # one secret, one history
    everything = numbers(bytes(32)) + numbers(blake3(b"another").digest())
    assert Counter(everything).most_common(1)[0][1] == 1
