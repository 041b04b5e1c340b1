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

    """

    def __init__(
        self, message: str, *, field: str | None = None, actual: Any = None, limit: Any = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.actual = actual
        self.limit = limit


class InputError(QISError, ValueError):
    """An argument that the caller passed is wrong."""


class OutcomeTooLargeError(InputError):
    """A field or a whole body is too large for a packet; `field`, `actual`, `limit` in bytes."""


class SchemeMismatchError(InputError):
    """Two fingerprints of different schemes were to be compared."""


class IncompatibleEvidenceError(InputError):
    """Outcomes of different studies, measures or models were to be pooled."""


class NoEstimateError(InputError):
    """The data determine no finite estimate (no events, or events in one arm only)."""


class DisclosureError(InputError):
    """A disclosure rule keeps the outcome at the site; `field` names the rule."""


class EmbargoError(InputError):
    """The study hides its syntheses until `limit` (Unix seconds); `field` is what was asked for."""


class KeyFileError(InputError):
    """A key file is missing, readable by others, damaged, or would be overwritten."""


class ConfigurationError(InputError):
    """A site's, roster's or study's file is missing or wrong; the message names file and key."""


class MissingExtraError(InputError, ImportError):
    """An optional package is needed; the message says what to install."""


class PeerError(QISError):
    """Bytes from somebody else that must not be used."""


class MalformedPacketError(PeerError, ValueError):
    """Bytes that are not the one valid encoding of a packet."""


class PacketSizeError(MalformedPacketError):
    """Bytes that are not exactly 512 long."""


class SignatureError(PeerError):
    """The signature is not the issuer's over these bytes."""


class ExpiredError(PeerError):
    """The packet's validity has ended."""


class NotYetValidError(PeerError):
    """The packet says that it was issued in the future, beyond the tolerated clock offset."""


class SequenceAheadError(PeerError):
    """The packet's sequence is ahead of its own issue time by more than clocks may differ."""


class RoutingKeysError(PeerError):
    """The packet travels under routing keys that its issuer did not sign."""


class UntrustedIssuerError(PeerError):
    """The roster does not list the packet's issuer."""


class ClockError(QISError):
    """The machine's clock is doubted, and nothing was published.

    A date stands in every packet and decides how long it counts and what it replaces. `actual` is
    this machine's date, `limit` the one that speaks against it, both in Unix seconds.
    """


class TransportError(QISError, OSError):
    """The network or the machine failed; nothing that was acknowledged is lost."""


class StorageError(QISError, OSError):
    """A file could not be opened or written; what was not acknowledged is not in it."""


class StorageDamagedError(StorageError):
    """A file holds something else than what was written; it is left as it is."""


class AccountError(StorageDamagedError):
    """The account of what has left is in doubt, and nothing leaves until a person has looked.

    `field` is the code of what was found (docs/operating.md).
    """
