"""Subjects, inboxes and readers' names of one domain on a server.

Study, issuer and evidence key appear as keyed hashes only: the server and whoever reads its logs
see that two packets are of one study or site, and not of which.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from blake3 import blake3

from qis import _layout
from qis.errors import InputError
from qis.identity import Issuer
from qis.packet import Packet, issuer_key
from qis.transport._topic import topic_of

_CONTEXT: Final = "qis 2026 subjects of a consortium"
_DOMAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
READERS: Final = ("interest-1",)
"""Names under which a loop with one interest subscribes."""


class Names:
    """Names of a domain.

    Parameters
    ----------
    domain
        What the consortium's stream and the first token of its subjects are called: 1 to 32 letters
        and digits of ASCII, ``-`` and ``_``.
    secret
        The consortium's secret; `None`: hashes that anybody can recompute.

    Raises
    ------
    InputError
        If the domain has other characters.

    """

    def __init__(self, domain: str, secret: bytes | None) -> None:
        given: object = domain
        if not isinstance(given, str) or not _DOMAIN.fullmatch(given):
            raise InputError(
                f"domain is {domain!r:.60}; it is 1 to 32 letters and digits of ASCII, - and _",
                field="domain",
            )
        self.domain = domain
        self.stream = domain
        key = blake3(secret or b"", derive_key_context=_CONTEXT).digest(32)

        @lru_cache(maxsize=65_536)
        def token(*parts: bytes) -> str:
            content = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
            return blake3(content, key=key).digest(10).hex()

        self._token = token

    @property
    def everything(self) -> str:
        """The subjects of all packets of the domain."""
        return f"{self.domain}.>"

    def study(self, study_id: bytes) -> str:
        """Return the subjects of all packets of a study."""
        return f"{self.domain}.{self._token(b'study', study_id)}.>"

    def subject(self, packet: Packet) -> str:
        """Return the subject of a packet: domain, study, issuer and evidence key."""
        evidence = self._token(b"evidence", topic_of(packet))
        return f"{self.prefix_of(bytes(packet))}.{evidence}"

    def prefix_of(self, data: bytes) -> str:
        """Return domain, study and issuer of 512 bytes, which need not be verified."""
        study = self._token(b"study", data[_layout.STUDY_ID])
        return f"{self.domain}.{study}.{self.issuer(issuer_key(data))}"

    def issuer(self, key: bytes) -> str:
        """Return the token of an issuer's key (32 bytes)."""
        return self._token(b"issuer", key)

    def reader(self, key: bytes, name: str) -> str:
        """Return what the server calls a site's subscription of some name."""
        return self._token(b"reader", key, name.encode("utf-8"))

    def inbox(self, key: bytes) -> str:
        """Return the first token of the subjects on which a site gets answers."""
        return f"_INBOX_{self._token(b'inbox', key)}"

    def permissions(
        self,
        issuer: Issuer,
        *,
        readers: Iterable[str] = READERS,
        jetstream_domain: str | None = None,
    ) -> dict[str, Any]:
        """Return what a site's account may do on the server, and has to; nothing else is needed.

        It may publish under its own issuer only, read through its own readers only, and neither
        purge the stream nor touch another site's reader.

        Parameters
        ----------
        issuer
            The site's key.
        readers
            The names of its subscriptions; a loop with n interests uses ``interest-1`` to
            ``interest-n``, a subscription without a name ``unnamed-1``.
        jetstream_domain
            The server's JetStream domain, if it has one. A leaf node checks the subject with it,
            and the server itself, which maps it first, the one without.

        """
        stream = self.stream
        allowed = [f"{self.domain}.*.{self.issuer(issuer.key)}.*"]
        consumers = [f"{stream}.{self.reader(issuer.key, name)}" for name in readers]
        apis = ["$JS.API"]
        if jetstream_domain is not None:
            apis.append(f"$JS.{jetstream_domain}.API")
        for api in apis:
            allowed.append(f"{api}.STREAM.INFO.{stream}")
            for consumer in consumers:
                allowed += [
                    f"{api}.CONSUMER.CREATE.{consumer}",
                    f"{api}.CONSUMER.CREATE.{consumer}.>",
                    f"{api}.CONSUMER.INFO.{consumer}",
                    f"{api}.CONSUMER.DELETE.{consumer}",
                    f"{api}.CONSUMER.MSG.NEXT.{consumer}",
                ]
        for consumer in consumers:
            allowed += [f"$JS.ACK.{consumer}.>", f"$JS.ACK.*.*.{consumer}.>"]
        return {
            "publish": {"allow": allowed},
            "subscribe": {"allow": [f"{self.inbox(issuer.key)}.>"]},
        }

    def __repr__(self) -> str:
        return f"<Names of the domain {self.domain!r}>"
