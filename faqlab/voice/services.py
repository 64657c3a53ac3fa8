"""Run asyncio services on threads, because a notebook's own thread already has an event loop."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Self

from faqlab.errors import FaqlabError


class BackgroundService(ABC):
    """A service on a thread, from `start` until `stop`; it can be started again. Messages begin with its *name*."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @abstractmethod
    async def _serve(self) -> None:
        """Call `_is_ready` once the service can be used, and return soon after `_until_stopped` returns."""

    def start(self) -> Self:
        """Start, and return when the service can be used; FaqlabError if it can't. Does nothing if it is running."""
        try:
            if self._thread is None:
                # Made before the thread begins, so that `stop` works at any moment.
                self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
                self._ready: Future[None] = Future()
                self._failure: BaseException | None = None
                self._thread = threading.Thread(target=self._run, name=f"faqlab-{type(self).__name__}", daemon=True)
                self._thread.start()
            self._ready.result()
        except BaseException:
            self.stop()
            raise
        return self

    def begin_stop(self) -> None:
        """Begin to stop, and return at once."""
        if self._thread:
            with suppress(RuntimeError):  # the loop is closed: it stopped unexpectedly
                self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self) -> None:
        """Stop, from any thread. Does nothing if it isn't running."""
        self.begin_stop()
        thread, self._thread = self._thread, None
        if thread and thread.is_alive():  # otherwise it was interrupted before the thread began, and will stop at once
            thread.join(timeout=15)  # it may hang in a log that nobody reads; then it ends with this process

    @property
    def problem(self) -> str | None:
        """Why the service stopped unexpectedly, in a sentence; None if it is running or was stopped."""
        if self._thread is None or self._thread.is_alive():
            return None
        return f"{self.name} stopped unexpectedly ({self._failure or 'no reason given'})."

    def _run(self) -> None:
        loop, ready = self._loop, self._ready
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
        if not ready.done():
            sentence = f"{self.name} couldn't start: {self._failure or 'it was stopped first'}."
            ready.set_exception(self._failure if isinstance(self._failure, FaqlabError) else FaqlabError(sentence))

    def _is_ready(self, *_: object) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    async def _until_stopped(self, *running: asyncio.Task[Any]) -> None:
        """Return when `stop` has been called or one of *running* has ended."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
