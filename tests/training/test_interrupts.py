"""Ctrl-C once is a wish, twice is an order."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from groundup.training.interrupts import catch_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted_and_the_second_raises(number):
    before = signal.getsignal(number)
    with catch_interrupts() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_it_stays_out_of_the_way():
    answers = []

    def work():
        with catch_interrupts() as interrupted:
            answers.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
