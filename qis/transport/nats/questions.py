"""Questions to the server: each waits for its answer, a refusal, or the end of the connection."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from qis.errors import TransportError

_DENIED: Final = re.compile(
    r"permissions violation for (publish|subscription) to \"([^\"]+)\"", re.IGNORECASE
)


class DeniedError(TransportError):
    """The server does not allow this account to do something."""


class Questions:
    """The questions that are open on one connection, and all later ones."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._subjects: dict[str, set[str]] = {}
        self._number = 0

    @contextmanager
    def put(self, subject: str) -> Iterator[tuple[str, asyncio.Future[Any]]]:
        """Note a question while the context lasts: gives its token and its answer, a message.

        The answer is to come on a subject whose last token is that one.
        """
        self._number += 1
        token = f"{self._number:x}"
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answer
        denied = _as_denied(subject)
        same = self._subjects.setdefault(denied, set())
        same.add(token)
        try:
            yield token, answer
        finally:
            self._waiting.pop(token, None)
            same.discard(token)
            if not same:
                self._subjects.pop(denied, None)

    async def answered(self, message: Any) -> None:
        """Give a message to the question that it answers."""
        answer = self._waiting.get(message.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(message)

    def denied(self, said: str) -> tuple[str, str] | None:
        """End the questions that the server denies in an error, which is all that it says of them.

        Returns "publish" or "subscription" and the subject; `None` if the error says something
        else.
        """
        found = _DENIED.search(said)
        if found is None:
            return None
        what, subject = found[1].lower(), found[2]
        error = f"the server does not allow it: {said}"
        self._end(self._subjects.get(_as_denied(subject), ()), DeniedError, error)
        return what, subject

    def ended(self, reason: str) -> None:
        """End all questions with the connection."""
        self._end(self._waiting, TransportError, f"the connection has ended: {reason}")

    def _end(self, tokens: Iterable[str], error: type[TransportError], text: str) -> None:
        for token in list(tokens):
            answer = self._waiting.get(token)
            if answer is not None and not answer.done():
                answer.set_exception(error(text))


def answer_of(message: Any) -> Any:
    """Return the content of an answer of JetStream, a mapping.

    Raises
    ------
    TransportError
        If nobody answers on that subject, or the answer is none of JetStream.

    """
    status = (message.headers or {}).get("Status")
    if status == "503":
        raise TransportError(
            "nobody answers: the server has no JetStream, the stream is missing (domain=), or this "
            "account may not use it"
        )
    try:
        found = json.loads(message.data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TransportError("the server's answer is none of JetStream")
    return found


def _as_denied(subject: str) -> str:
    """Return a subject as errors name it: by nats-py in small letters, by the server mapped."""
    lowered = subject.lower()
    head, api, rest = lowered.partition(".api.")
    return f"$js{api}{rest}" if head.startswith("$js.") and api else lowered
