"""What LiveKit's SDK does wrong unless it is stopped: proxies for this machine, races, deadlocks, a loud log."""

import asyncio
import logging
import os
from functools import cache

from livekit import rtc
from livekit.agents.voice.room_io._output import _ParticipantAudioOutput
from livekit.rtc._ffi_client import FfiClient


@cache
def start_sdk(local: bool) -> None:
    """
    Start LiveKit's SDK on this thread, for a *local* server or another one.

    livekit 1.1 starts it where it is first used, without a lock. If several calls begin at once, it may start twice:
    then one of them never hears that it has joined, and 15 seconds later the SDK ends the process.
    """
    for name in ("HTTP_PROXY", "http_proxy") if local else ():
        os.environ.pop(name, None)  # LiveKit's Rust SDK uses it for any ws:// URL, despite NO_PROXY
    # Its watchdog of each call may stop the whole process: sys._current_frames can deadlock before Python 3.12.
    os.environ["LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS"] = "0"
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # the SDK logs as errors what it recovers from
    logging.getLogger("livekit.agents").setLevel(logging.ERROR)
    _ = FfiClient.instance

    # Each frame waits until the caller has subscribed to the agent's track. livekit-agents 1.8 cancels not only the
    # waiting but what is waited for, so that an interruption at that moment silences the agent for the whole call.
    capture = _ParticipantAudioOutput.capture_frame

    async def capture_frame(self: _ParticipantAudioOutput, frame: rtc.AudioFrame) -> None:
        await asyncio.shield(self.subscribed)
        await capture(self, frame)

    _ParticipantAudioOutput.capture_frame = capture_frame  # type: ignore[method-assign]
