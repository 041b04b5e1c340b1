"""The conformance suite of transports: what every one of them promises, ours and third parties'."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from qis._gate import checked
from qis.identity import Identity
from qis.testing import _transport_promises as promises
from qis.transport import Transport

Network = Callable[[Sequence[Identity]], AbstractAsyncContextManager[Sequence[Transport]]]
"""Builds a network with one open transport for each identity, and takes it down again."""


@checked
async def check_transport(network: Network) -> None:
    """Run every check of the contract, each on a network of its own.

    Parameters
    ----------
    network
        For each list of identities, an async context manager that gives their open transports,
        in the same order and connected to each other.

    Raises
    ------
    InputError
        If `network` is no function.
    AssertionError
        If a promise is broken, or what it promises does not come within 30 s; the message names it.

    """
    for number, check in enumerate(promises.PROMISES):
        identities = [Identity.from_seed(bytes([number, i]) * 16) for i in (1, 2, 3)]
        async with network(identities) as transports:
            try:
                await check(identities, transports)
            except (TimeoutError, StopAsyncIteration) as error:
                promise = (check.__doc__ or "").rstrip(".")
                what = "has ended" if isinstance(error, StopAsyncIteration) else "does not come"
                raise AssertionError(
                    f"broken promise: {promise}. What was waited for {what} (within "
                    f"{promises.WITHIN_S:.0f} s)"
                ) from error
