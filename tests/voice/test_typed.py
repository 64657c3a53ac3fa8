"""What callers type, in a real call: answered like speech, and limited, because anybody with a token can send it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import caller_of, until
from livekit import rtc
from livekit.agents import UserStateChangedEvent
from livekit.agents.types import TOPIC_CHAT
from test_call import (  # noqa: F401 (two fixtures)
    GREETING,
    PAY,
    PAY_ANSWER,
    Quiet,
    caller,
    conversation,
    emulator,
    gemini_answering,
    quiet_call,
    said,
)

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.voice import call as call_module
from faqlab.voice.call import FEEDBACK_TOPIC, NOTICE_TOPIC
from faqlab.voice.demo import LiveDemo
from faqlab.voice.livekit_server import LiveKit


class Typist:
    """Types in the room of a call, and reads what comes back."""

    def __init__(self, room: rtc.Room) -> None:
        self._room, self.notices, self._reading = room, [], set[asyncio.Task[None]]()
        room.register_text_stream_handler(NOTICE_TOPIC, self._receive)
        self.notices: list[str] = []

    def _receive(self, reader: rtc.TextStreamReader, sender: str) -> None:
        async def read() -> None:
            self.notices.append(json.loads(await reader.read_all())["text"])

        self._reading.add(asyncio.create_task(read()))

    async def type(self, text: str, topic: str = TOPIC_CHAT) -> None:
        await self._room.local_participant.send_text(text, topic=topic)


async def test_typed_questions_are_answered_and_limited(demo: LiveDemo) -> None:
    async with asyncio.timeout(120), caller_of(demo) as caller:
        typist = Typist(caller.room)
        assert "What would you like to know?" in (await caller.greeting()).reply
        await typist.type("x" * (call_module.LONGEST_TEXT + 1))
        await until(lambda: typist.notices)
        assert typist.notices == [replies.TYPE_LESS]

        endless = await caller.room.local_participant.stream_text(topic=TOPIC_CHAT)
        await endless.write("y" * 60_000)  # and never ends
        await until(lambda: len(typist.notices) == 2)
        assert typist.notices == [replies.TYPE_LESS] * 2

        await typist.type("  ")
        answer = asyncio.create_task(caller.greeting())
        await asyncio.sleep(0)  # so that it listens before the look-up is sent
        await typist.type("How can I pay?")
        heard = await answer
        assert "by card" in heard.reply
        [lookup] = heard.lookups
        assert (lookup["query"], lookup["hits"][0]["id"]) == ("How can I pay?", "pay")
        await typist.type(f"{lookup['id']} no", FEEDBACK_TOPIC)
        await until(lambda: [of.helpful for of in demo.calls.records if of.id == lookup["id"]] == [False])

        for _ in range(call_module.EACH_MINUTE):
            await typist.type("unknown yes", FEEDBACK_TOPIC)
        await until(lambda: replies.TYPE_SLOWER in typist.notices)
        assert not any(record.query.startswith(("x", "y", " ")) for record in demo.calls.records)


async def test_a_question_with_the_first_breath_is_answered_aloud(demo: LiveDemo) -> None:
    async with asyncio.timeout(120), caller_of(demo) as caller:
        typist = Typist(caller.room)
        await until(lambda: any("lk.agent.state" in who.attributes for who in caller.room.remote_participants.values()))
        await typist.type("Where is my parcel?")
        reply = ""
        while "shipping email" not in reply:
            heard = await caller.greeting()
            reply += heard.reply
        assert heard.first_audio_s is not None


async def test_gemini_answers_what_is_typed(livekit_server: LiveKit, conversation: Conversation) -> None:  # noqa: F811
    async with asyncio.timeout(120), emulator() as google:
        with gemini_answering(livekit_server, conversation, google) as records:
            async with caller(livekit_server, "typed to gemini") as calling:
                assert await said(calling, GREETING)
                await Typist(calling.room).type(PAY)
                assert (await calling.greeting()).reply == PAY_ANSWER
        assert google.connections[0].said == [GREETING, PAY_ANSWER]
    assert [record.query for record in records.records] == [PAY]


@pytest.mark.parametrize(
    ("typed", "published", "waits"), [(True, {"microphone": object()}, 1), (False, {}, 1), (False, {"m": object()}, 0)]
)
async def test_a_caller_who_types_is_asked_later_whether_they_are_there(
    quiet_call: Quiet,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    typed: bool,
    published: dict[str, Any],
    waits: int,
) -> None:
    call, job, session = quiet_call
    job.room.remote_participants = {"caller": SimpleNamespace(track_publications=published)}
    call._caller = "caller"
    call._texts.extend([0.0] * typed)
    monkeypatch.setattr(call_module, "READING_TIMES", 7)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    object.__setattr__(call._assistant, "silence_seconds", 2)
    monkeypatch.setattr(call_module.asyncio, "sleep", sleep)
    call._on_user_state(UserStateChangedEvent(old_state="listening", new_state="away"))
    await job.ended
    asked = replies.STILL_TYPING if waits else replies.STILL_THERE
    assert pauses == [14] * waits + [2] * len(asked)
    assert session.said == [*asked, replies.FAREWELL]
    assert not waits or "microphone" not in " ".join(session.said)
