"""The offline replacement for a language model: replies to small talk, and a tool call for everything else."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, llm, utils

from faqlab import replies
from faqlab.conversation import Conversation
from faqlab.decision import Outcome, Reason
from faqlab.text import has_words, is_blank, plain_text
from faqlab.voice.agent import FaqAgent
from faqlab.voice.spoken_text import sentences

if TYPE_CHECKING:  # otherwise this import would load hibari
    from faqlab.voice.tts import HibariTTS

MOST_WORDS, SLACK = 40, 8  # spoken at once, and how many more if that's the end of the answer
PASSING = [replies.SMALL_TALK[intent] for intent in ("wait", "hearing", "continue", "stop", "acknowledge")]
"""Replies after which "repeat that" still means what was said before."""
CLAUSE_END = re.compile(r"(?<=[,;:–—])\s+|\s+(?=(?:and|but|or|which|who|where|when|if|unless|because|so|while)\b)")
PART_END = re.compile(r"(?<![.!?…”\")])\s?[,;:–—]?$")
SLOW = 0.75  # the speed of speech after "slower, please"


class OfflineLLM(llm.LLM):
    """
    Replies to small talk, calls a tool with everything else, and says what the tool returns.

    The tool is the agent's default one, unless another tool's description is more similar to the words than any entry.
    A long answer is said in parts. If there is a *tts*, it prepares the first sentence of the answer before it is
    certain that the caller has finished, and slows down when the caller asks for that.
    """

    def __init__(self, conversation: Conversation, tts: HibariTTS | None = None) -> None:
        super().__init__()
        self.conversation, self.tts = conversation, tts

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
            self._send(content=replies.SORRY if last.is_error else _parts(last.output)[0])
            return
        text = next((m.text_content or "" for m in reversed(self._chat_ctx.messages()) if m.role == "user"), "")
        tools = [tool for tool in self._tools if isinstance(tool, llm.FunctionTool)]
        if is_blank(text) or not tools:
            self._send(content=replies.SAY_AGAIN)
        elif has_words(text) and (intent := await asyncio.to_thread(self._llm.conversation.intent, text)):
            self._send(content=self._reply(intent))
        else:
            self._call(await asyncio.to_thread(self._choose, tools, text), text)

    def _reply(self, intent: str) -> str:
        """Return the reply to small talk, which may ask for the next part of an answer, or the last words again."""
        parts, said, last, cut_off = _progress(self._chat_ctx)
        offered = cut_off or last.endswith(replies.GO_ON)
        if said < len(parts) and (intent == "continue" or (offered and intent in ("yes", "acknowledge"))):
            return parts[said]
        if self._llm.tts and intent == "slower":
            self._llm.tts.speed = SLOW
        if parts and (cut_off or (said and (last in PASSING or _begins(last, parts[said - 1])))):
            last = parts[min(said, len(parts) - 1) if cut_off else said - 1]
        if intent == "continue" and not said:  # nothing has been said that could go on
            intent = "yes"
        return replies.small_talk(intent, replies.GREETING if cut_off and not parts else last)

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
        asked, *described = retriever.vectors([text, *(tool.info.description or "" for tool in others)])
        nearest = max(1 - hit.squared_l2 / 2 for hit in answer.hits)
        cosines = {max(nearest, retriever.config.null_cosine): default}
        cosines |= {float(asked @ of): tool for of, tool in zip(described, others, strict=True)}
        return cosines[max(cosines)]

    def _call(self, tool: llm.FunctionTool, text: str) -> None:
        """Call *tool* with *text* as its first argument, if it takes one."""
        parameters = llm.utils.build_legacy_openai_schema(tool)["function"]["parameters"].get("properties", {})
        arguments = json.dumps(dict.fromkeys(list(parameters)[:1], text))
        call = llm.FunctionToolCall(name=tool.info.name, arguments=arguments, call_id=utils.shortuuid("call_"))
        self._send(tool_calls=[call])
        if self._llm.tts:
            asyncio.get_running_loop().run_in_executor(None, self._synthesize_ahead, text, self._llm.tts)

    def _synthesize_ahead(self, text: str, tts: HibariTTS) -> None:
        """Synthesize the answer's first sentence now, because the tool runs only once the turn is over."""
        conversation = self._llm.conversation
        said = replies.reply(conversation.peek(text), conversation.retriever.faqs)
        for sentence in sentences(said)[:1]:
            tts.synthesizer.speak(sentence, tts.speed)

    def _send(self, **delta: Any) -> None:
        chunk = llm.ChatChunk(id=utils.shortuuid("offline_"), delta=llm.ChoiceDelta(role="assistant", **delta))
        self._event_ch.send_nowait(chunk)


def _parts(output: str) -> list[str]:
    """Return what to say for a tool's output (text or the JSON of `replies.tool_result`), a long answer in parts."""
    try:
        result = json.loads(output)
        text = str(result["say"] or result["answers"][0]["answer"])
        if result["status"] != Outcome.ANSWER:
            return [text]
    except (ValueError, LookupError, TypeError):
        text = output
    parts = [""]
    for piece in (part for sentence in sentences(plain_text(text)) for part in _clauses(sentence)):
        if parts[-1] and len(f"{parts[-1]} {piece}".split()) > MOST_WORDS:
            parts.append("")
        parts[-1] = f"{parts[-1]} {piece}".strip()
    end = " ".join(parts[-2:])
    if len(end.split()) <= MOST_WORDS + SLACK:
        parts[-2:] = [end]
    return [*(f"{PART_END.sub('.', part, count=1)} {replies.GO_ON}" for part in parts[:-1]), parts[-1]]


def _clauses(sentence: str) -> list[str]:
    """Return *sentence*, or if that's too long to be said at once, its clauses; words, if one of those is."""
    if len(sentence.split()) <= MOST_WORDS + SLACK:
        return [sentence]
    clauses = CLAUSE_END.split(sentence)
    return sentence.split() if max(len(clause.split()) for clause in clauses) > MOST_WORDS else clauses


def _progress(chat_ctx: llm.ChatContext) -> tuple[list[str], int, str, bool]:
    """Return the last answer's parts, how many were said to the end, what was said last, and if that was cut off."""
    found = next((item for item in reversed(chat_ctx.items) if isinstance(item, llm.FunctionCallOutput)), None)
    parts, said, last, cut_off = _parts(found.output) if found else [], 0, "", False
    for item in chat_ctx.items:
        if item is found:
            said = 0
        elif isinstance(item, llm.ChatMessage) and item.role == "assistant":
            last, cut_off = item.text_content or "", item.interrupted
            if not cut_off and said < len(parts) and _begins(last, parts[said]):
                said += 1
    return parts, said, last or replies.GREETING, cut_off


def _begins(text: str, part: str) -> bool:
    return " ".join(text.split()).startswith(" ".join(part.split()))
