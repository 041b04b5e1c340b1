"""Questions to the server: each waits for its answer, a refusal, or the end of the connection."""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from qis.errors import TransportError

_DENIED: Final = re.compile(
    r"permissions violation for (publish|subscription) to \"([^\"]+)\"", re.IGNORECASE
)


class DeniedError(TransportError):
    """The server does not allow this account to do something."""


class _Open(NamedTuple):
    """A question without an answer yet, and until when it may stay so (the loop's time)."""

    answer: asyncio.Future[Any]
    until_s: float


class Questions:
    """The questions that are open on one connection, and all later ones.

    Parameters
    ----------
    patience_s
        Seconds until a question that nobody answers ends with a `TimeoutError`.

    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        # In the order in which they were put, and so that in which their time is over: one timer,
        # for the first of them, serves all.
        self._waiting: dict[str, _Open] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._subjects: dict[str, set[str]] = {}
        self._number = 0

    @contextmanager
    def put(self, subject: str) -> Iterator[tuple[str, asyncio.Future[Any]]]:
        """Note a question while the context lasts: gives its token and its answer, a message.

        The answer is to come on a subject whose last token is that one.
        """
        self._number += 1
        token = f"{self._number:x}"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting[token] = _Open(answer, loop.time() + self._patience_s)
        if self._timer is None:
            self._timer = loop.call_later(self._patience_s, self._look)
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
        question = self._waiting.get(message.subject.rpartition(".")[2])
        if question is not None and not question.answer.done():
            question.answer.set_result(message)

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

    def _look(self) -> None:
        """End the questions whose time is over, and look again when that of the next one is."""
        self._timer = None
        loop = asyncio.get_running_loop()
        for question in list(self._waiting.values()):
            if question.until_s > loop.time():
                self._timer = loop.call_at(question.until_s, self._look)
                return
            if not question.answer.done():
                question.answer.set_exception(TimeoutError())

    def _end(self, tokens: Iterable[str], error: type[TransportError], text: str) -> None:
        for token in list(tokens):
            question = self._waiting.get(token)
            if question is not None and not question.answer.done():
                question.answer.set_exception(error(text))


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
