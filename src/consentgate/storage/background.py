"""Work in another thread, one piece after the other, while the caller goes on."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Self


class Background:
    """Calls functions in another thread, in order, and at most one while the caller goes on.

    As a context manager, it waits for the last call when the block ends.

    Args:
        helper: an executor with a thread that is free for this; None: the caller's thread.
    """

    def __init__(self, helper: Executor | None) -> None:
        self._helper = helper
        self._under_way: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a call has not ended."""
        return self._under_way is not None and not self._under_way.done()

    def call(self, work: Callable[[], None]) -> None:
        """Call a function, after the one before has ended.

        Raises:
            Exception: The function before raised it. Without a helper, this function raised it.
        """
        self.wait()
        if self._helper is None:
            work()
        else:
            self._under_way = self._helper.submit(work)

    def wait(self) -> None:
        """Wait until the last function has ended.

        Raises:
            Exception: The last function raised it.
        """
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None:
            self.wait()
        elif self._under_way is not None:
            wait([self._under_way])  # an error of its own would hide the one that ended the block
