"""The conformance suite of transports: what every one of them promises, ours and third parties'."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from qis.identity import Identity
from qis.testing._transport_promises import PROMISES
from qis.transport import Transport

Network = Callable[[Sequence[Identity]], AbstractAsyncContextManager[Sequence[Transport]]]
"""Builds a network with one open transport for each identity, and takes it down again."""


async def check_transport(network: Network) -> None:
    """Run every check of the contract, each on a network of its own.

    Parameters
    ----------
    network
        For each list of identities, an async context manager that gives their open transports,
        in the same order and connected to each other.

    Raises
    ------
    AssertionError
        If a promise is broken; the message names it.
    TimeoutError
        If something that should arrive does not within 30 s.

    """
    for number, check in enumerate(PROMISES):
        identities = [Identity.from_seed(bytes([number, i]) * 16) for i in (1, 2, 3)]
        async with network(identities) as transports:
            await check(identities, transports)
