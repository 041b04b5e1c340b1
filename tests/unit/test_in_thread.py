"""What a loop computes in a thread, beside which its event loop has its turns."""

import asyncio
import sys
import threading

import pytest

from qis.loop._in_thread import TURN_S, Turns, in_thread


@pytest.fixture(autouse=True)
def as_it_was():
    former = sys.getswitchinterval()
    yield
    sys.setswitchinterval(former)


def test_it_gives_what_the_function_gives_from_another_thread_that_yields_often():
    async def scenario():
        here, former = threading.get_ident(), sys.getswitchinterval()
        thread, interval = await in_thread(lambda: (threading.get_ident(), sys.getswitchinterval()))
        assert thread != here
        assert interval == TURN_S < former == sys.getswitchinterval()
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)
        assert sys.getswitchinterval() == former

    asyncio.run(scenario())


def test_the_last_of_several_puts_the_interval_back_and_no_other_s():
    turns, former = Turns(), sys.getswitchinterval()
    with turns:
        with turns:
            assert sys.getswitchinterval() == TURN_S
        assert sys.getswitchinterval() == TURN_S
    assert sys.getswitchinterval() == former
    with turns:
        sys.setswitchinterval(0.002)  # by the application, meanwhile
    assert sys.getswitchinterval() == 0.002
    sys.setswitchinterval(0.0001)  # shorter than ours already
    shorter = sys.getswitchinterval()
    with turns:
        assert sys.getswitchinterval() == shorter
    assert sys.getswitchinterval() == shorter
