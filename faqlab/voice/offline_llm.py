"""The offline replacement for a language model: replies to small talk, and a tool call for everything else."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, llm, utils

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.decision import Reason
from faqlab.text import has_words, is_blank
from faqlab.voice.agent import FaqAgent

if TYPE_CHECKING:  # otherwise this import would load hibari
    from faqlab.voice.tts import Synthesizer


class OfflineLLM(llm.LLM):
    """
    Replies to small talk, calls a tool with everything else, and says what the tool returns.

    The tool is the agent's default one, unless another tool's description is more similar to the words than any entry.
    A *synthesizer* prepares the first sentence of the answer before it is certain that the caller has finished.
    """

    def __init__(self, conversation: Conversation, synthesizer: Synthesizer | None = None) -> None:
        super().__init__()
        self.conversation, self.synthesizer = conversation, synthesizer

    def chat(self, *, chat_ctx: llm.ChatContext, tools: list[llm.Tool] | None = None, **options: Any) -> llm.LLMStream:
        """Return the next step of the conversation: a sentence, or one tool call."""
        usable = [] if options.get("tool_choice") == "none" else tools or []
        conn_options = options.get("conn_options", DEFAULT_API_CONNECT_OPTIONS)
        return _Step(self, chat_ctx=chat_ctx, tools=usable, conn_options=conn_options)


class _Step(llm.LLMStream):
    _llm: OfflineLLM

    async def _run(self) -> None:
        last = self._chat_ctx.items[-1] if self._chat_ctx.items else None
        if isinstance(last, llm.FunctionCallOutput):
            self._send(content=replies.SORRY if last.is_error else _spoken(last.output))
            return
        text = next((m.text_content or "" for m in reversed(self._chat_ctx.messages()) if m.role == "user"), "")
        tools = [tool for tool in self._tools if isinstance(tool, llm.FunctionTool)]
        if is_blank(text) or not tools:
            self._send(content=replies.SAY_AGAIN)
        elif has_words(text) and (intent := await asyncio.to_thread(self._llm.conversation.intent, text)):
            self._send(content=replies.small_talk(intent, _last_reply(self._chat_ctx)))
        else:
            self._call(await asyncio.to_thread(self._choose, tools, text), text)

    def _choose(self, tools: list[llm.FunctionTool], text: str) -> llm.FunctionTool:
        """Return the tool whose description is more similar to *text* than any FAQ entry, else the default tool."""
        default, *others = sorted(tools, key=lambda tool: tool.info.name != FaqAgent.DEFAULT_TOOL)
        conversation = self._llm.conversation
        if not others or not has_words(text):
            return default
        answer = conversation.peek(text)
        if answer.reason in (Reason.CHOSEN, Reason.NO_CHOICE, Reason.REJECTED):  # a reply to a clarifying question
            return default
        retriever = conversation.retriever
        query, *described = retriever.encoder.encode([text, *(tool.info.description or "" for tool in others)])
        nearest = max(1 - hit.squared_l2 / 2 for hit in answer.hits)
        cosines = {max(nearest, retriever.config.null_cosine): default}
        cosines |= {float(vector @ query): tool for vector, tool in zip(described, others, strict=True)}
        return cosines[max(cosines)]

    def _call(self, tool: llm.FunctionTool, text: str) -> None:
        """Call *tool* with *text* as its first argument, if it takes one."""
        parameters = llm.utils.build_legacy_openai_schema(tool)["function"]["parameters"].get("properties", {})
        arguments = json.dumps(dict.fromkeys(list(parameters)[:1], text))
        call = llm.FunctionToolCall(name=tool.info.name, arguments=arguments, call_id=utils.shortuuid("call_"))
        self._send(tool_calls=[call])
        if self._llm.synthesizer:
            asyncio.get_running_loop().run_in_executor(None, self._synthesize_ahead, text, self._llm.synthesizer)

    def _synthesize_ahead(self, text: str, synthesizer: Synthesizer) -> None:
        """Synthesize the answer's first sentence now, because the tool runs only once the turn is over."""
        conversation = self._llm.conversation
        said = replies.reply(conversation.peek(text), conversation.retriever.faqs)
        for sentence in synthesizer.sentences(said)[:1]:
            synthesizer.speak(sentence)

    def _send(self, **delta: Any) -> None:
        chunk = llm.ChatChunk(id=utils.shortuuid("offline_"), delta=llm.ChoiceDelta(role="assistant", **delta))
        self._event_ch.send_nowait(chunk)


def _spoken(output: str) -> str:
    """Return what to say for a tool's output, which is text or the JSON of `replies.tool_result`."""
    try:
        result = json.loads(output)
        return str(result["say"] or result["answers"][0]["answer"])
    except (ValueError, LookupError, TypeError):
        return output


def _last_reply(chat_ctx: llm.ChatContext) -> str:
    """Return what the assistant said last, in full: for an interrupted message, from the tool's output."""
    for item in reversed(chat_ctx.items):
        if isinstance(item, llm.FunctionCallOutput):
            return _spoken(item.output)
        if isinstance(item, llm.ChatMessage) and item.role == "assistant" and not item.interrupted:
            return item.text_content or ""
    return replies.GREETING
