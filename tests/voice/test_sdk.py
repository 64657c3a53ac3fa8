"""What is mended in LiveKit's SDK."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from livekit import rtc
from livekit.agents.telemetry.loop_monitor import start_monitoring
from livekit.agents.voice.room_io._output import _ParticipantAudioOutput

from faqlab.voice.sdk import start_sdk


async def test_a_reply_interrupted_before_the_caller_has_subscribed_leaves_the_agent_its_voice() -> None:
    start_sdk(local=True)
    room: Any = SimpleNamespace()
    options = rtc.TrackPublishOptions()
    output = _ParticipantAudioOutput(room, sample_rate=24_000, num_channels=1, track_publish_options=options)
    frame = rtc.AudioFrame(bytes(960), 24_000, 1, 480)
    reply = asyncio.create_task(output.capture_frame(frame))
    await asyncio.sleep(0)
    reply.cancel()
    await asyncio.gather(reply, return_exceptions=True)
    output.subscribed.set_result(None)
    await output.capture_frame(frame)
    await output.aclose()


async def test_no_watchdog_looks_at_the_stacks_of_all_threads() -> None:
    """In Python 3.11 it can stop the process for good (gh-106883), which happens on a busy machine."""
    start_sdk(local=True)
    assert start_monitoring(asyncio.get_running_loop()) is None
