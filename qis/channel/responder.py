"""The responder's side of a handshake: the cheapest checks first."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Final

from qis._seldom import Bucket, Seldom
from qis.channel.ciphers import AgreementError, KeyPair, responder_keys
from qis.channel.cookies import COOKIE_SIZE, NO_COOKIE, Cookies
from qis.channel.handshake import CallRefused, Initiation, Response, encode_cookie
from qis.channel.initiator import Send
from qis.channel.session import Session
from qis.channel.sessions import Sessions
from qis.errors import SignatureError
from qis.identity import Identity, Issuer, verify
from qis.refusals import TELL_EVERY_S, RefusalCode

CALLS_OF_ONE_RATE: Final = 8.0
"""Calls a second from one proven address that are looked at, and as many at once."""
ADDRESSES_LIMIT: Final = 4_096
"""Addresses whose calls are counted; the one heard of longest ago goes first."""
REMEMBERED_S: Final = 120.0
"""How long the newest call of a key is remembered: an older one is not answered, nor is a copy from
elsewhere. No longer, since whose clock was ahead and is set right calls with older times."""
ANSWERS_LIMIT: Final = 3
"""How often the same call is answered, from the address that it came from: its answer may be lost.
It is the same answer, which costs neither a signature nor a session."""
NEWEST_LIMIT: Final = 4_096
"""Keys whose newest call is remembered; the one heard of longest ago goes first."""
STRANGERS_RATE: Final = 20.0
"""Calls a second by keys that are not on the roster whose signatures are checked: some 1 ms of
work. Beyond it such a call is dropped, and its caller learns the reason from a later one."""


@dataclass(slots=True, kw_only=True)
class _Answered:
    """The newest call of a key that was answered."""

    time_ms: int
    call: bytes
    address: bytes
    response: bytes
    until: float
    answers: int = 1


class Responder:
    """Answers those who call one node.

    Parameters
    ----------
    identity, sessions, cookies, refused, send, key_pairs, accepts, unix_s
        The parts of the node that `Channels` describes.
    calls
        The node's own calls, whose session numbers are taken.

    """

    def __init__(
        self,
        identity: Identity,
        sessions: Sessions,
        cookies: Cookies,
        refused: Counter[str],
        send: Send,
        *,
        key_pairs: Callable[[], KeyPair],
        accepts: Callable[[Issuer], bool],
        calls: Container[int],
        unix_s: Callable[[float], float],
    ) -> None:
        self._identity = identity
        self._sessions = sessions
        self._cookies = cookies
        self._refused = refused
        self._send = send
        self._key_pairs = key_pairs
        self._accepts = accepts
        self._calls = calls
        self._unix_s = unix_s
        self._strangers = Bucket(STRANGERS_RATE)
        self._of_address: OrderedDict[bytes, Bucket] = OrderedDict()
        self._newest: OrderedDict[bytes, _Answered] = OrderedDict()
        self._told: Seldom[bytes] = Seldom(TELL_EVERY_S)

    def on_initiation(self, data: bytes, address: bytes, now: float) -> None:
        """Check in this order: form, cookie if many call, roster, signature, keys.

        Who is not on the roster is told so, but only once signature and address are proven: else
        anybody could ask, in anybody's name, whom the roster lists.
        """
        initiation = Initiation.decode(data)
        own_key = self._identity.issuer.key
        if initiation is None:
            self._refused["malformed"] += 1
        elif initiation.key == own_key:
            self._refused["reflected"] += 1
        elif self._is_old(initiation, data, address, now):
            return
        elif self._has_to_prove(initiation, address, now):
            self._refused["cookie"] += 1
            cookie = self._cookies.cookie(address, now)
            self._send(encode_cookie(initiation.session, cookie), address)
        elif initiation.cookie != NO_COOKIE and self._is_too_often(address, now):
            self._refused["calls"] += 1
        else:
            self._judge(initiation, address, now)

    def _judge(self, initiation: Initiation, address: bytes, now: float) -> None:
        own_key = self._identity.issuer.key
        is_accepted = self._accepts(Issuer(initiation.key))
        if not is_accepted:
            self._refused["unknown_issuer"] += 1
            if self._strangers.is_full(now):
                return
        try:
            verify(initiation.key, initiation.signed_part(own_key), initiation.signature)
            if is_accepted:
                self._respond(initiation, address, now)
            else:
                self._refuse(initiation, address, now)
        except SignatureError:
            self._refused["signature"] += 1
        except AgreementError:
            self._refused["agreement"] += 1

    def _is_old(self, initiation: Initiation, data: bytes, address: bytes, now: float) -> bool:
        """True if a newer call of this key was answered, or this one: it is then answered again.

        Only calls whose signature is right are remembered, so nobody can silence another.
        """
        known = self._newest.get(initiation.key)
        if known is None or now >= known.until or initiation.time_ms > known.time_ms:
            return False
        # The cookie at the end is not signed and differs between two tries.
        is_same = data[:-COOKIE_SIZE] == known.call and address == known.address
        if is_same and known.answers < ANSWERS_LIMIT:
            known.answers += 1
            self._send(known.response, address)
        else:
            self._refused["old_call"] += 1
        return True

    def _remember(
        self, initiation: Initiation, address: bytes, response: bytes, now: float
    ) -> None:
        self._newest.pop(initiation.key, None)
        if len(self._newest) >= NEWEST_LIMIT:
            self._newest.popitem(last=False)
        self._newest[initiation.key] = _Answered(
            time_ms=initiation.time_ms,
            call=initiation.encode()[:-COOKIE_SIZE],
            address=address,
            response=response,
            until=now + REMEMBERED_S,
        )

    def _is_too_often(self, address: bytes, now: float) -> bool:
        bucket = self._of_address.pop(address, None) or Bucket(CALLS_OF_ONE_RATE)
        self._of_address[address] = bucket
        if len(self._of_address) > ADDRESSES_LIMIT:
            self._of_address.popitem(last=False)
        return bucket.is_full(now)

    def _has_to_prove(self, initiation: Initiation, address: bytes, now: float) -> bool:
        if initiation.cookie != NO_COOKIE and self._cookies.proves(address, initiation.cookie, now):
            return False
        return self._cookies.is_needed(now)

    def _refuse(self, initiation: Initiation, address: bytes, now: float) -> None:
        """Tell a caller whose signature is right that it is not on the roster."""
        if not self._cookies.proves(address, initiation.cookie, now):
            cookie = self._cookies.cookie(address, now)
            self._send(encode_cookie(initiation.session, cookie), address)
        elif self._told.allows(initiation.key, now):
            unsigned = CallRefused(to=initiation.session, code=RefusalCode.ROSTER)
            transcript = initiation.transcript(self._identity.issuer.key)
            signature = self._identity.sign(unsigned.signed_part(transcript))
            self._send(replace(unsigned, signature=signature).encode(), address)

    def _respond(self, initiation: Initiation, address: bytes, now: float) -> None:
        key_pair = self._key_pairs()
        keys = responder_keys(key_pair, initiation.ephemeral)
        number = self._sessions.new_number(self._calls)
        unsigned = Response(
            to=initiation.session,
            session=number,
            ephemeral=key_pair[0],
            time_ms=max(0, int(self._unix_s(now) * 1000)),
        )
        transcript = initiation.transcript(self._identity.issuer.key)
        signature = self._identity.sign(unsigned.signed_part(transcript))
        session = Session(
            peer=initiation.key,
            address=address,
            keys=keys,
            own_number=number,
            peer_number=initiation.session,
            now=now,
            clock_s=initiation.time_ms / 1000.0 - now,
        )
        self._sessions.expect(session, now)
        response = replace(unsigned, signature=signature).encode()
        self._remember(initiation, address, response, now)
        self._send(response, address)
