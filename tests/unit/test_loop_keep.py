"""What a loop keeps for this site alone, and the answer that it gives for it."""

import asyncio
from dataclasses import replace

import pytest

import qis
import qis.blocking
from qis.errors import EmbargoError, InputError
from tests._builders import NOW, effect, first_synthesis, loop_of, site

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
STUDY = qis.Study(question="drug vs none | death", measure="OR", model="random")


@pytest.fixture
def network():
    return qis.MemoryNetwork(now=float(NOW))


def loop_on(network, number, **options):
    transport = qis.MemoryTransport(network, site(number))
    options.setdefault("studies", [STUDY])
    return loop_of(transport, site(number), SCHEME, ABOUT, **options)


def writer_without_here(loop):
    return replace(loop.latest(STUDY), here_of=None).forest_plot().svg()


async def both(network, own, use):
    """Two sites; the first publishes, the second keeps what it knows."""
    async with loop_on(network, 1) as writer, loop_on(network, 2) as reader:
        await writer.publish(effect(-0.8, 0.2, study=STUDY, n=300), about=ABOUT)
        await first_synthesis(reader, lambda s: len(s.sites) == 1)
        if own is not None:
            reader.keep(own, about=ABOUT)
            await first_synthesis(reader, lambda s: s.here is not None)
        return await use(writer, reader)


def test_what_is_kept_moves_the_answer_here_and_nothing_else(network):
    own = effect(0.5, 0.6, study=STUDY, n=25)

    async def use(writer, reader):
        synthesis = reader.latest(STUDY)
        assert [each.name for each in synthesis.sites] == [str(site(1).issuer)]
        assert synthesis.estimate == writer.latest(STUDY).estimate
        assert synthesis.digest == writer.latest(STUDY).digest
        here = synthesis.here
        assert here is synthesis.here
        assert here.alone == 0.5
        assert here.answer.median > synthesis.estimate
        assert "For you" in synthesis.forest_plot().svg()
        assert "For you" not in writer_without_here(writer)
        # It left nowhere.
        await network.settle()
        assert reader.undelivered() == ()
        assert reader.statistics.published == 0
        assert len(writer.latest(STUDY).sites) == 1

    asyncio.run(both(network, own, use))


def test_the_site_that_published_has_an_answer_too(network):
    async def use(writer, reader):
        here = writer.latest(STUDY).here
        assert here.alone == -0.8
        assert here.weights == ()
        assert reader.latest(STUDY).here is None

    asyncio.run(both(network, None, use))


def test_what_is_kept_replaces_what_was_published_of_the_cohort(network):
    async def scenario():
        async with loop_on(network, 1) as loop:
            await loop.publish(effect(-0.8, 0.2, study=STUDY), about=ABOUT)
            loop.keep(effect(-0.6, 0.1, study=STUDY), about=ABOUT)
            loop.keep(effect(0.9, 5.0, study=STUDY, cohort="second"), about=ABOUT)
            found = await first_synthesis(loop, lambda s: s.here and s.here.alone > -0.7)
            assert found.here.alone == pytest.approx(-0.6, abs=0.01)
            assert found.estimate == -0.8
            assert loop.forget(STUDY)
            assert loop.forget(STUDY, "second")
            assert not loop.forget(STUDY)
            again = await first_synthesis(loop, lambda s: s.here and s.here.alone < -0.7)
            assert again.here.alone == -0.8

    asyncio.run(scenario())


def test_a_site_that_hears_nothing_still_gets_its_own(network):
    async def scenario():
        async with loop_on(network, 3) as loop:
            loop.keep(effect(0.5, 0.6, study=STUDY), about=ABOUT)
            found = await first_synthesis(loop, lambda s: s.here is not None)
            assert found.sites == ()
            assert "the answer is your data and the prior" in found.here.summary()

    asyncio.run(scenario())


def test_an_embargo_hides_the_answer(network):
    study = qis.Study(question="q", measure="OR", model="random", embargo_until=NOW + 1000)

    async def scenario():
        async with loop_on(network, 1, studies=[study]) as loop:
            loop.keep(effect(0.5, 0.6, study=study), about=ABOUT)
            await loop.publish(effect(0.4, 0.6, study=study), about=ABOUT)
            found = await first_synthesis(loop, lambda s: len(s.sites) == 1)
            with pytest.raises(EmbargoError):
                _ = found.here

    asyncio.run(scenario())


def test_only_what_says_something_of_an_effect_is_kept(network, monkeypatch):
    monkeypatch.setattr("qis.loop.own_data.MAX_KEPT", 1)

    async def scenario():
        async with loop_on(network, 1) as loop:
            with pytest.raises(InputError, match="no log-likelihood of one effect"):
                loop.keep(qis.Suppressed(study=STUDY), about=ABOUT)
            with pytest.raises(InputError):
                loop.keep(effect(study=STUDY), about=[1.0, 2.0])
            loop.keep(effect(study=STUDY), about=ABOUT)
            loop.keep(effect(0.3, study=STUDY), about=ABOUT)
            with pytest.raises(InputError, match="are kept already"):
                loop.keep(effect(study=STUDY, cohort="b"), about=ABOUT)

    asyncio.run(scenario())


def test_a_loop_without_async_keeps_too(network):
    transport = qis.MemoryTransport(network, site(5))
    loop = qis.blocking.SynthesisLoop(
        site(5),
        transport,
        SCHEME,
        interest=SCHEME.interest(ABOUT),
        studies=[STUDY],
        disclosure=qis.Disclosure.preset("none"),
        clock=lambda: float(NOW),
    )
    with loop:
        loop.keep(effect(0.5, 0.6, study=STUDY), about=ABOUT)
        found = next(loop.syntheses(timeout_s=20.0))
        assert found.here.alone == 0.5
        assert loop.forget(STUDY)
