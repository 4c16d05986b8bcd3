"""Ctrl-C as a wish, not an accident: finish the step, save, leave; pressed again, leave at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def catch_interrupts() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C (SIGINT) or SIGTERM, which schedulers send first, has come.

    The second of these signals raises `KeyboardInterrupt` where the program stands. The handlers from before come
    back when the block ends. Outside the main thread Python delivers no signals, so there the answer is always no.
    """
    asked = False

    def handler(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, old in before.items():
            signal.signal(number, old)
