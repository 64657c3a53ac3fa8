"""What a call hears, decides and speaks with: chosen once, where the program starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from livekit.agents import Agent, AgentSession

from faqlab.settings import Settings
from faqlab.voice.offline import offline_stack, session_options
from faqlab.voice.speech import Voice


class MakeAgent(Protocol):
    """Makes the call's agent; takes what `Agent` takes besides its instructions."""

    def __call__(self, **options: Any) -> Agent:
        """Return a new agent."""


class Notify(Protocol):
    """Shows a line on the caller's page."""

    async def __call__(self, level: str, text: str) -> None:
        """Show *text*; *level* is `info` or `warning`."""


@dataclass(frozen=True)
class Stack:
    """
    A way to hold conversations.

    Attributes:
        name: For people.
        agent: Makes the first agent of a session that has not started.
    """

    name: str
    agent: Callable[[AgentSession[Any], Notify, MakeAgent], Agent]

    def session(self, prepare: Callable[[str], str], silence_seconds: float) -> AgentSession[Any]:
        """
        Return a session with the offline parts: all that the offline stack needs, and what Gemini falls back on.

        Args:
            prepare: Returns what the tool is going to return for a query; called ahead of it, in a thread.
            silence_seconds: After which a caller who says nothing counts as away.
        """
        return AgentSession(
            **vars(offline_stack(prepare)),
            **session_options(),
            user_away_timeout=silence_seconds,
            session_close_transcript_timeout=0.2,
        )


def choose_stack(settings: Settings) -> Stack:
    """
    Return Gemini Live where there is a key for it, else the offline stack. Call it on the main thread.

    Raises:
        FaqlabError: the voice that Gemini falls back on is missing or damaged.
    """
    if settings.google_api_key is None:
        return Stack("the offline voice", lambda session, notify, make: make())
    from faqlab.voice.gemini import APOLOGY, INVITATION, Failover, agent_options, import_on_main_thread

    import_on_main_thread()
    for sentence in (APOLOGY, INVITATION):  # a caller whom Gemini has let down has waited enough
        Voice.shared().speak(sentence)

    def gemini_agent(session: AgentSession[Any], notify: Notify, make: MakeAgent) -> Agent:
        Failover(session, notify, lambda chat_ctx: make(chat_ctx=chat_ctx))
        return make(**agent_options(settings))

    return Stack(f"Gemini Live ({settings.gemini_model}, {settings.gemini_voice})", gemini_agent)
