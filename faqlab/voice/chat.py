"""The offline agent as a text chat: the same tool and replies as in a call, but no audio and no server."""

from collections.abc import Callable, Iterable

from livekit.agents import AgentSession

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.lookup_log import LookupLog
from faqlab.retriever import Answer, Retriever
from faqlab.small_talk import SmallTalk
from faqlab.text import is_blank, replace_surrogates
from faqlab.voice.agent import FaqAgent, Lookups
from faqlab.voice.offline_llm import OfflineLLM

Emit = Callable[[str, Answer | None], None]  # takes the reply to a line, and the look-up made for it, if any


async def chat(lines: Iterable[str], retriever: Retriever, emit: Emit, fresh: bool = False) -> None:
    """Emit a reply to each of *lines*, blank ones too, as they come; if *fresh*, each is a new conversation."""
    small_talk = SmallTalk.load(retriever.encoder)
    for conversation in ([line] for line in lines) if fresh else [lines]:
        async with await text_session(Conversation(retriever, small_talk)) as session:
            for line in conversation:
                emit(*await _reply(session, line))


async def text_session(conversation: Conversation, agent: FaqAgent | None = None) -> AgentSession[Lookups]:
    """Return a text-only session, after its greeting; each `await session.run(user_input=…)` is one turn."""
    session = AgentSession[Lookups](
        llm=OfflineLLM(conversation),
        vad=None,
        turn_handling={"turn_detection": "manual"},
        user_away_timeout=None,
        userdata=Lookups(conversation, LookupLog()),
    )
    await session.start(agent or FaqAgent(), capture_run=True)
    return session


async def _reply(session: AgentSession[Lookups], line: str) -> tuple[str, Answer | None]:
    if is_blank(line):
        return replies.SAY_AGAIN, None
    session.userdata.answer = None
    events = (await session.run(user_input=replace_surrogates(line.strip()))).events
    said = [event.item.text_content for event in events if event.type == "message"]
    agent = session.current_agent
    await agent.update_chat_ctx(agent.chat_ctx.copy().truncate(max_items=50))  # otherwise each turn takes longer
    return " ".join(filter(None, said)), session.userdata.answer
