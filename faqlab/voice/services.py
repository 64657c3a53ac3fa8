"""What runs in the background: services on threads (a notebook's own already has an event loop), and programs."""

import asyncio
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from subprocess import PIPE, Popen
from typing import IO, Any, Self

from faqlab.errors import FaqlabError

RESTARTS = 5  # in a row, before it gives up; once it has run for a minute, it counts from zero again
STEADY_SECONDS = 60.0
STOP_SECONDS = 3.0  # how long a program may take to end when asked to, before it is killed

# Only this process holds the other end of stdin. The shell in the background reads from it until this process ends,
# even by SIGKILL, and then kills its process group, which is the program and itself.
WATCHED = 'exec 3<&0; { read _ <&3; kill -9 0; } >/dev/null 2>&1 & exec "$@" 3<&-'


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


class ChildProcess(BackgroundService):
    """
    A program that is started again when it ends by itself. Ctrl-C doesn't reach it, and it dies with this process.

    `start` returns once it can be used, and sets `pid`. *say* gets a sentence when it ended unexpectedly.
    """

    pid: int

    def __init__(self, name: str, command: list[str], environment: dict[str, str], say: Callable[[str], None]) -> None:
        super().__init__(name)
        self._command, self._environment, self._say = command, environment, say
        self._output: deque[str] = deque(maxlen=8)  # the last lines that it wrote

    async def _watch(self) -> str:
        """Return why the program must be killed; wait as long as it needn't be."""
        return await asyncio.get_running_loop().create_future()

    def _take_line(self, line: str) -> None:
        """Take a line of its stdout or stderr."""
        self._output.append(line)

    async def _prepare_end(self) -> None:
        """Do what has to be done before it is asked to end."""

    async def _clear_up(self) -> None:
        """Do what has to be done after it ended unexpectedly."""

    def _is_up(self) -> None:
        """Must be called each time the program can be used."""
        if self._ready.done():
            self._say(f"{self.name} is running again.")
        self._is_ready()

    async def _serve(self) -> None:
        now, failures = asyncio.get_running_loop().time, 0
        while not self._stopping.is_set():
            began = now()
            why = await self._run_once()
            if self._stopping.is_set():
                return
            if not self._ready.done():
                ours = [line.removeprefix("faqlab: ") for line in self._output if line.startswith("faqlab: ")]
                end = f"{self.name} didn't start ({why}). The end of its output:\n" + "\n".join(self._output)
                raise FaqlabError(ours[0] if ours else end)  # a sentence of our own program says it best
            failures = failures + 1 if now() - began < STEADY_SECONDS else 1
            if failures > RESTARTS:
                self._say(f"{self.name} stopped unexpectedly ({why}), too often to be started again.")
                raise ChildProcessError(why)
            self._say(f"{self.name} stopped unexpectedly ({why}); it is started again.")
            await self._clear_up()
            with suppress(TimeoutError):  # the first time at once, then after 1, 3, 7 and 15 s
                await asyncio.wait_for(self._stopping.wait(), 2 ** (failures - 1) - 1)

    async def _run_once(self) -> str:
        """Run the program until it ends, or `stop` is called; return why it ended."""
        self._output.clear()
        # Not asyncio's own: in some versions of Python that waits until the program's children have ended too.
        with Popen(
            ["/bin/sh", "-c", WATCHED, "sh", *self._command],
            env=self._environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        ) as process:
            self.pid = process.pid
            return await self._until_ended(process)

    async def _until_ended(self, process: Popen[bytes]) -> str:
        read = asyncio.gather(self._read(process.stdout), self._read(process.stderr))
        ended, watching = asyncio.create_task(_end_of(process)), asyncio.create_task(self._watch())
        try:
            await self._until_stopped(ended, watching)
            if self._stopping.is_set() and not ended.done():
                await self._prepare_end()
                process.terminate()
                await asyncio.wait([ended], timeout=STOP_SECONDS)
        finally:
            with suppress(OSError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(ended, read)
        if watching.done():
            return watching.result()
        watching.cancel()
        if process.returncode < 0:
            return f"signal {-process.returncode}"
        last = [line.removeprefix("faqlab: ") for line in self._output][-1:]
        return ": ".join([f"status {process.returncode}", *last])

    async def _read(self, pipe: IO[bytes] | None) -> None:
        lines = asyncio.StreamReader(limit=2**30)  # a look-up's line may be long
        await self._loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), pipe)
        async for line in lines:
            self._loop.call_soon(self._take_line, line.decode(errors="replace").rstrip())


async def _end_of(process: Popen[bytes]) -> None:
    while process.poll() is None:  # in a thread of asyncio's, waiting would keep this process from ending
        await asyncio.sleep(0.05)
