"""Opening what may never open."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from segjax.errors import SegjaxError

LIMIT_S = 10.0
"""A source that has not opened by then never will."""

Result = TypeVar("Result")


def within(limit_s: float, call: Callable[[], Result], what: str) -> Result:
    """Runs `call` in a thread of its own, which is left behind when it takes longer.

    Raises:
      SegjaxError: no result within `limit_s`.
    """
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name=f"open {what}", daemon=True).start()
    try:
        return future.result(limit_s)
    except TimeoutError:
        if future.done():
            raise
        raise SegjaxError(
            f"{what} did not open within {limit_s:g} s; a source opens at once; check that it is "
            "connected and that no other program holds it"
        ) from None
