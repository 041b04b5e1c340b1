"""Shows what publishing an outcome would send and reveal, without publishing it."""

from dataclasses import dataclass, replace
from typing import Any

from qis.disclosure import Disclosure, Preview
from qis.errors import DisclosureError
from qis.fingerprint import Scheme
from qis.loop.approval import Draft
from qis.loop.signing import Signer
from qis.picture.html import HasLines


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun(HasLines):
    """The packet that would leave, and what an outsider could learn from it.

    Parameters
    ----------
    data
        Its 512 bytes, with zeros for the signature: nothing was signed, no sequence is used, and
        nobody would accept it.
    routing_keys
        The keys that it would travel under, besides the study's id.
    explain
        Every field of the packet in words.
    preview
        Whether the disclosure rules let it leave, and what the known attacks find.

    Examples
    --------
    >>> import qis
    >>> key, scheme = qis.Identity.from_seed(bytes(32)), qis.VectorScheme(dimensions=2)
    >>> transport = qis.MemoryTransport(qis.MemoryNetwork(), key)
    >>> loop = qis.SynthesisLoop(key, transport, scheme, interest=scheme.interest([1.0, 2.0]))
    >>> small = qis.Counts(question="q", events=3, total=40)
    >>> import asyncio
    >>> async def main() -> qis.DryRun:
    ...     async with loop:
    ...         return loop.dry_run(small, about=[1.0, 2.0])
    >>> dry = asyncio.run(main())
    >>> len(dry.data), dry.preview.refusal != ""
    (512, True)

    """

    data: bytes
    routing_keys: tuple[bytes, ...]
    explain: str
    preview: Preview

    def __str__(self) -> str:
        return f"{self.explain}\n\n{self.preview}"


def dry_run(
    draft: Draft,
    *,
    scheme: Scheme[Any],
    disclosure: Disclosure,
    signer: Signer,
    leaves_machine: bool,
) -> DryRun:
    """Build the packet without its signature, and run the known attacks on the outcome."""
    unsigned, routing_keys, *_ = signer.unsigned(draft)
    preview = disclosure.preview(draft.outcome, subjects=draft.subjects)
    try:
        disclosure.check_about(
            draft.outcome, scheme, people=draft.people, leaves_machine=leaves_machine
        )
    except DisclosureError as error:
        preview = replace(preview, refusal=preview.refusal or str(error))
    return DryRun(
        data=bytes(unsigned),
        routing_keys=routing_keys,
        explain=unsigned.explain(),
        preview=preview,
    )
