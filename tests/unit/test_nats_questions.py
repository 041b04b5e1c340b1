"""Questions to a server: each ends by its answer, a refusal, its time or the connection's end."""

import asyncio
from types import SimpleNamespace

import pytest

from qis.errors import TransportError
from qis.transport.nats.questions import DeniedError, Questions


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time can be put forward."""

    ahead_s = 0.0

    def time(self):
        return super().time() + self.ahead_s


def run(scene):
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(scene())


def message(token, content=b"{}"):
    return SimpleNamespace(subject=f"_INBOX.a.{token}", data=content, headers=None)


def test_each_question_ends_when_its_own_time_is_over():
    async def scene():
        loop, questions = asyncio.get_running_loop(), Questions(600.0)
        for _ in range(2):  # after the last of them the timer rests, and starts again
            with questions.put("one") as (_, first):
                loop.ahead_s += 300.0
                with questions.put("two") as (token, second), questions.put("three") as (_, third):
                    loop.ahead_s += 301.0
                    with pytest.raises(TimeoutError):
                        await first
                    assert not second.done()
                    await questions.answered(message(token))
                    assert (await second).data == b"{}"
                    loop.ahead_s += 300.0
                    with pytest.raises(TimeoutError):
                        await third

    run(scene)


def test_a_refusal_ends_the_questions_on_that_subject_and_the_end_all():
    async def scene():
        questions = Questions(60.0)
        with questions.put("a.B") as (_, denied), questions.put("c") as (_, other):
            said = 'Permissions Violation for Publish to "a.b"'
            assert questions.denied(said) == ("publish", "a.b")
            with pytest.raises(DeniedError, match="does not allow"):
                await denied
            assert questions.denied("something else") is None
            questions.ended("closed")
            with pytest.raises(TransportError, match="closed"):
                await other

    run(scene)


def test_what_nobody_has_asked_answers_nothing():
    async def scene():
        questions = Questions(60.0)
        await questions.answered(message("ff"))
        with questions.put("a") as (token, answer):
            await questions.answered(message(token))
            await questions.answered(message(token, b"again"))
        assert (await answer).data == b"{}"

    run(scene)
