"""A bounded queue between two threads."""

from collections import deque
from typing import Generic, TypeVar

from segjax.live.clock import Clock

Item = TypeVar("Item")


class Closed(Exception):
    """The channel is closed and nothing is left in it."""


class Channel(Generic[Item]):
    """Holds at most `size` items and can be closed.

    A full channel makes `put` wait, or, with `newest_only`, gives up its oldest item, which is
    counted in `dropped`.
    """

    def __init__(self, size: int, *, newest_only: bool = False, clock: Clock | None = None) -> None:
        self.dropped = 0
        self._size = size
        self._newest_only = newest_only
        self._items: deque[Item] = deque()
        self._closed = False
        self._changed = (clock or Clock()).condition()

    def put(self, item: Item) -> bool:
        """Puts an item in; False when the channel is closed and did not take it."""
        with self._changed:
            if not self._newest_only:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                return False
            if len(self._items) == self._size:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float | None = None) -> Item:
        """Takes the oldest item out.

        Raises:
          Closed: closed and empty.
          TimeoutError: nothing came for `timeout_s` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError
            if not self._items:
                raise Closed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Takes no more; what is inside still comes out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
