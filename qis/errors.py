"""Every error that qis raises, in one tree that says whose fault it is.

::

    QISError
    ├── InputError (ValueError)          yours: what you passed in
    │   ├── OutcomeTooLargeError         a body that does not fit into a packet
    │   ├── SchemeMismatchError          sketches of two different schemes compared
    │   ├── IncompatibleEvidenceError    outcomes that must not be pooled
    │   ├── NoEstimateError              the data determine no finite estimate
    │   ├── DisclosureError              a rule keeps this outcome at the site
    │   ├── EmbargoError                 the study hides its syntheses until a date
    │   ├── KeyFileError                 a key file that cannot or must not be used
    │   ├── ConfigurationError           a site's, roster's or study's file: missing, or wrong
    │   └── MissingExtraError (ImportError)  an optional package is not installed
    ├── PeerError                        theirs: bytes that came from somebody else
    │   ├── MalformedPacketError (ValueError)
    │   │   └── PacketSizeError          not exactly 512 bytes
    │   ├── SignatureError               the signature does not verify
    │   ├── ExpiredError                 after its expiry
    │   ├── NotYetValidError             issued in the future
    │   ├── SequenceAheadError           a sequence far ahead of its own issue time
    │   ├── RoutingKeysError             not the routing keys it was signed for
    │   └── UntrustedIssuerError         the roster does not list its issuer
    ├── ClockError                       the machine's date, or those of the sites heard
    ├── TransportError (OSError)         the network's or the machine's
    └── StorageError (OSError)           the disk's: full, read-only, locked by another process
        └── StorageDamagedError          what is on it is not what was written
            └── AccountError             the account of what has left is in doubt

Errors carry attributes (`field`, `actual`, `limit`) so that a program need not read the prose.
"""

from typing import Any


class QISError(Exception):
    """Base of all errors raised by qis.

    Parameters
    ----------
    message
        What was wrong, what the limit is, and what to do.
    field
        The name of the parameter, field or rule at fault, if there is one.
    actual, limit
        What was found and what was allowed, in the unit that the message names.

    Examples
    --------
    >>> import qis
    >>> try:
    ...     qis.VectorScheme(dimensions=0)
    ... except qis.QISError as error:
    ...     print(error.field, error.actual)
    dimensions 0

    """

    def __init__(
        self, message: str, *, field: str | None = None, actual: Any = None, limit: Any = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.actual = actual
        self.limit = limit


class InputError(QISError, ValueError):
    """An argument that the caller passed is wrong.

    Examples
    --------
    >>> import qis
    >>> qis.Counts(question="a vs b | c", events="3", total=40)
    Traceback (most recent call last):
        ...
    qis.errors.InputError: events is '3'; it must be a whole number from 0 to ...

    """


class OutcomeTooLargeError(InputError):
    """A field or a whole body is too large for a packet; `field`, `actual`, `limit` in bytes.

    Examples
    --------
    >>> import qis
    >>> qis.Study(question="a very long question " * 3)
    Traceback (most recent call last):
        ...
    qis.errors.OutcomeTooLargeError: question takes 62 bytes of UTF-8; the limit is 48: ...

    """


class SchemeMismatchError(InputError):
    """Two fingerprints of different schemes were to be compared.

    Examples
    --------
    >>> import qis
    >>> two, three = qis.VectorScheme(dimensions=2), qis.VectorScheme(dimensions=3)
    >>> two.similarity(two.fingerprint([1.0, 0.0]), three.fingerprint([1.0, 0.0, 0.0]))
    Traceback (most recent call last):
        ...
    qis.errors.SchemeMismatchError: ...

    """


class IncompatibleEvidenceError(InputError):
    """Outcomes of different studies, measures or models were to be pooled.

    Examples
    --------
    >>> import qis
    >>> number = dict(estimate=0.1, standard_error=0.2)
    >>> odds = qis.Effect(question="a vs b | c", measure="OR", **number)
    >>> hazard = qis.Effect(question="a vs b | c", measure="HR", **number)
    >>> qis.synthesise([odds, hazard], model="fixed")
    Traceback (most recent call last):
        ...
    qis.errors.IncompatibleEvidenceError: ...

    """


class NoEstimateError(InputError):
    """The data determine no finite estimate (no events, or events in one arm only).

    Examples
    --------
    >>> import qis
    >>> qis.synthesis.mantel_haenszel([0], [40], [3], [41])
    Traceback (most recent call last):
        ...
    qis.errors.NoEstimateError: the pooled ratio is zero, infinite or undefined: ...

    """


class DisclosureError(InputError):
    """A disclosure rule keeps the outcome at the site; `field` names the rule.

    Examples
    --------
    >>> import qis
    >>> few = qis.Counts(question="a | b", events=3, total=40, control_events=9, control_total=41)
    >>> qis.Disclosure.preset("cms").check(few)
    Traceback (most recent call last):
        ...
    qis.errors.DisclosureError: ...

    """


class EmbargoError(InputError):
    """The study hides its syntheses until `limit` (Unix seconds); `field` is what was asked for.

    Examples
    --------
    >>> import qis
    >>> study = qis.Study(
    ...     question="a vs b | c", measure="OR", model="fixed", embargo_until=1_900_000_000
    ... )
    >>> table = {"site": ["Ulm"], "estimate": [0.1], "standard_error": [0.2]}
    >>> qis.synthesise(table, study=study, now=1_800_000_000).estimate
    Traceback (most recent call last):
        ...
    qis.errors.EmbargoError: ...

    """


class KeyFileError(InputError):
    """A key file is missing, readable by others, damaged, or would be overwritten.

    Examples
    --------
    >>> import qis
    >>> qis.Identity.load("nowhere.pem")
    Traceback (most recent call last):
        ...
    qis.errors.KeyFileError: ...

    """


class ConfigurationError(InputError):
    """A site's, roster's or study's file is missing or wrong; the message names file and key.

    Examples
    --------
    >>> import qis
    >>> qis.Study.load("nowhere.toml")
    Traceback (most recent call last):
        ...
    qis.errors.ConfigurationError: ...

    """


class MissingExtraError(InputError, ImportError):
    """An optional package is needed; the message says what to install.

    Examples
    --------
    >>> import qis
    >>> issubclass(qis.MissingExtraError, ImportError)
    True

    """


class PeerError(QISError):
    """Bytes from somebody else that must not be used.

    Examples
    --------
    >>> import qis
    >>> qis.Packet.parse(bytes(512))
    Traceback (most recent call last):
        ...
    qis.errors.MalformedPacketError: bytes 0–9 are not those of a packet
    >>> issubclass(qis.MalformedPacketError, qis.PeerError)
    True

    """


class MalformedPacketError(PeerError, ValueError):
    """Bytes that are not the one valid encoding of a packet.

    Examples
    --------
    >>> import qis
    >>> qis.Packet.parse(bytes(512))
    Traceback (most recent call last):
        ...
    qis.errors.MalformedPacketError: bytes 0–9 are not those of a packet

    """


class PacketSizeError(MalformedPacketError):
    """Bytes that are not exactly 512 long.

    Examples
    --------
    >>> import qis
    >>> qis.Packet.parse(b"short")
    Traceback (most recent call last):
        ...
    qis.errors.PacketSizeError: 5 bytes; a packet has exactly 512

    """


class SignatureError(PeerError):
    """The signature is not the issuer's over these bytes.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> forged = bytes(packet)[:-1] + bytes([bytes(packet)[-1] ^ 1])
    >>> qis.Packet.parse(forged)
    Traceback (most recent call last):
        ...
    qis.errors.SignatureError: ...

    """


class ExpiredError(PeerError):
    """The packet's validity has ended.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> qis.Packet.parse(bytes(packet), now=1_800_010_000)
    Traceback (most recent call last):
        ...
    qis.errors.ExpiredError: ...

    """


class NotYetValidError(PeerError):
    """The packet says that it was issued in the future, beyond the tolerated clock offset.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> qis.Packet.parse(bytes(packet), now=1_799_000_000)
    Traceback (most recent call last):
        ...
    qis.errors.NotYetValidError: ...

    """


class SequenceAheadError(PeerError):
    """The packet's sequence is ahead of its own issue time by more than clocks may differ.

    Examples
    --------
    >>> import qis
    >>> from qis.packet import check_numbered
    >>> check_numbered(1_900_000_000_000_000, issued_at=1_800_000_000)
    Traceback (most recent call last):
        ...
    qis.errors.SequenceAheadError: ...

    """


class RoutingKeysError(PeerError):
    """The packet travels under routing keys that its issuer did not sign.

    Examples
    --------
    >>> import qis
    >>> issubclass(qis.RoutingKeysError, qis.PeerError)
    True

    """


class UntrustedIssuerError(PeerError):
    """The roster does not list the packet's issuer.

    Examples
    --------
    >>> import qis
    >>> issubclass(qis.UntrustedIssuerError, qis.PeerError)
    True

    """


class ClockError(QISError):
    """The machine's clock is doubted, and nothing was published.

    A date stands in every packet and decides how long it counts and what it replaces. `actual` is
    this machine's date, `limit` the one that speaks against it, both in Unix seconds.

    Examples
    --------
    >>> import qis
    >>> from qis.site import exit_code_of
    >>> exit_code_of(qis.ClockError("the date is in doubt")).meaning
    "the machine's clock is doubted, so nothing was published"

    """


class TransportError(QISError, OSError):
    """The network or the machine failed; nothing that was acknowledged is lost.

    Examples
    --------
    >>> import qis
    >>> from qis.site import exit_code_of
    >>> exit_code_of(qis.TransportError("no route")).is_passing  # another run may help
    True

    """


class StorageError(QISError, OSError):
    """A file could not be opened or written; what was not acknowledged is not in it.

    Examples
    --------
    >>> import qis
    >>> list(qis.read_packets("nowhere.packets"))
    Traceback (most recent call last):
        ...
    qis.errors.StorageError: ...

    """


class StorageDamagedError(StorageError):
    """A file holds something else than what was written; it is left as it is.

    Examples
    --------
    >>> import qis
    >>> from qis.site import exit_code_of
    >>> exit_code_of(qis.StorageDamagedError("not what was written")).is_passing
    False

    """


class AccountError(StorageDamagedError):
    """The account of what has left is in doubt, and nothing leaves until a person has looked.

    `field` is the code of what was found (docs/operating.md).

    Examples
    --------
    >>> import qis
    >>> issubclass(qis.AccountError, qis.StorageDamagedError)
    True

    """
