"""Files of packets, one after another: read a million without parsing one."""

import logging
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from qis import _layout
from qis._files import durable
from qis._gate import checked
from qis._given import instance
from qis._layout import PACKET_SIZE
from qis._paths import file_path, opening
from qis.errors import InputError
from qis.packet.packet import Packet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_log = logging.getLogger("qis.packet.file")

FIELDS: Final = np.dtype(
    {
        "names": [
            "issuer",
            "expires_at",
            "issued_at",
            "sketch",
            "scheme_id",
            "kind",
            "sequence",
        ],
        "formats": ["V32", ">u4", ">u4", ("u1", 32), "V8", "u1", ">u8"],
        "offsets": [
            _layout.ISSUER.start,
            _layout.EXPIRES_AT.start,
            _layout.ISSUED_AT.start,
            _layout.SKETCH.start,
            _layout.SCHEME_ID.start,
            _layout.KIND,
            _layout.SEQUENCE.start,
        ],
        "itemsize": PACKET_SIZE,
    }
)
"""The fields at fixed offsets of a packet, as a numpy structured dtype of 512 bytes."""


class PacketFile:
    """The packets of a file, mapped into memory; nothing is verified until it is asked for.

    Iterating, and indexing with an integer, parses and verifies. `fields` does not: it is for
    choosing among many, by issuer, time, scheme or sketch, and its content is not to be trusted.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    StorageError
        If it is missing or cannot be read.

    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = file_path(path)
        with opening(self.path, "read"):
            size = self.path.stat().st_size
        count, self.torn_bytes = divmod(size, PACKET_SIZE)
        if self.torn_bytes:
            _log.warning(
                "%s ends with %d bytes of a torn packet; the %d before it are read",
                self.path,
                self.torn_bytes,
                count,
            )
        self.fields: NDArray[Any] = np.empty(0, dtype=FIELDS)
        if count:
            with opening(self.path, "read"):
                self.fields = np.memmap(self.path, dtype=FIELDS, mode="r", shape=(count,))

    def __len__(self) -> int:
        return len(self.fields)

    def raw(self, index: int) -> bytes:
        """The 512 bytes of a packet by its index, unverified.

        Raises
        ------
        IndexError
            If the file has no packet of this index.

        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path} has {len(self)} packets, none at {index}")
        raw: bytes = self.fields[index].tobytes()
        return raw

    def __getitem__(self, index: int) -> Packet:
        return Packet.parse(self.raw(index))

    def __iter__(self) -> Iterator[Packet]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        torn = f" and {self.torn_bytes} torn bytes" if self.torn_bytes else ""
        return f"<PacketFile of {len(self)} packets{torn}: {self.path}>"


@checked
def read_packets(path: str | PathLike[str]) -> PacketFile:
    """Open a file of concatenated packets.

    A last record that is torn (a writer was stopped) is reported, in `torn_bytes` and in the log,
    and the rest is read.

    Raises
    ------
    StorageError
        If the file is missing or cannot be read.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> packet = qis.Packet.sign(
    ...     key,
    ...     outcome=qis.Counts(question="a vs b | death", events=3, total=20),
    ...     fingerprint=qis.VectorScheme(dimensions=2).fingerprint([0.5, -1.0]),
    ...     issued_at=1_800_000_000,
    ...     lifetime_s=86_400,
    ... )
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> qis.write_packets(f"{folder.name}/packets", [packet])
    1
    >>> list(qis.read_packets(f"{folder.name}/packets")) == [packet]
    True
    >>> folder.cleanup()

    """
    return PacketFile(path)


@checked
def write_packets(
    path: str | PathLike[str], packets: Iterable[Packet], *, mode: Literal["new", "append"] = "new"
) -> int:
    """Write packets one after another; on disk when this returns.

    Parameters
    ----------
    path
        The file.
    packets
        What to write.
    mode
        ``"new"``: the file must not exist. ``"append"``: add to it.

    Returns
    -------
    int
        How many were written.

    Raises
    ------
    InputError
        If the file to append to ends in a torn packet: copy what `read_packets` gives first.
    StorageError
        If a new file exists already, or it cannot be written.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> packet = qis.Packet.sign(
    ...     key,
    ...     outcome=qis.Counts(question="a vs b | death", events=3, total=20),
    ...     fingerprint=qis.VectorScheme(dimensions=2).fingerprint([0.5, -1.0]),
    ...     issued_at=1_800_000_000,
    ...     lifetime_s=86_400,
    ... )
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> qis.write_packets(f"{folder.name}/packets", [packet])
    1
    >>> folder.cleanup()

    """
    count = 0
    how: Final = "xb" if mode == "new" else "ab"
    with opening(path, "write"), durable(file_path(path), how) as file:
        if (torn := file.tell() % PACKET_SIZE) != 0:
            raise InputError(
                f"{path} ends with {torn} bytes of a torn packet; copy the whole ones that "
                "read_packets gives to a new file",
                field="path",
                actual=torn,
                limit=0,
            )
        for packet in packets:
            file.write(bytes(instance(packet, "packets", Packet, "Packet.parse verifies bytes")))
            count += 1
    return count
