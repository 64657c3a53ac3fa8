"""What is said in return: an `llm.LLM` without a model, which decides as Gemini is told to."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr, llm, utils

from faqlab.voice.speech import Voice

log = logging.getLogger("faqlab.voice")

SAY_AGAIN = "Sorry, I didn't catch that. Could you say it again?"
SORRY = "I'm sorry, something went wrong on my side. Please ask me again."
UNKNOWN = "I'm sorry, I don't know that."
HELLO = "Hello! What would you like to know?"


class OfflineLLM(llm.LLM):
    """
    Answers small talk itself, sends every question to the tool, and speaks what the tool returns.

    Of several tools it calls `lookup_company_info`, or else the first.

    Args:
        prepare: Called in a thread with what was heard as soon as a look-up is certain, which is before the turn is
            committed and the tool may run. Returns what the tool is going to return; cache the work there.
        voice: Speaks the first sentence of that ahead.
    """

    def __init__(self, *, prepare: Callable[[str], str] | None = None, voice: Voice | None = None) -> None:
        super().__init__()
        self._prepare, self._voice = prepare, voice

    @property
    def model(self) -> str:
        """The name in metrics."""
        return "offline"

    @property
    def provider(self) -> str:
        """The name in metrics."""
        return "faqlab"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        """Return the next step of the conversation: words, or one tool call."""
        usable = [] if tool_choice == "none" else tools or []
        return _Step(self, chat_ctx=chat_ctx, tools=usable, conn_options=conn_options)

    def _ahead(self, query: str) -> None:
        if self._prepare is None:
            return
        try:
            said = spoken(self._prepare(query))
            if self._voice and (sentences := self._voice.sentences(said)):
                self._voice.speak(sentences[0])
        except Exception:
            log.exception("preparing an answer failed: the tool will try again")


class _Step(llm.LLMStream):
    _llm: OfflineLLM

    async def _run(self) -> None:
        last = self._chat_ctx.items[-1] if self._chat_ctx.items else None
        if isinstance(last, llm.FunctionCallOutput):
            self._say(SORRY if last.is_error else spoken(last.output))
            return
        text = next((m.text_content or "" for m in reversed(self._chat_ctx.messages()) if m.role == "user"), None)
        reply = HELLO if text is None else small_talk(text, self._chat_ctx)
        tool = _tool(self._tools)
        if reply is None and text is not None and tool is not None:
            self._call(tool, text)
            asyncio.get_running_loop().run_in_executor(None, self._llm._ahead, text)
        else:
            self._say(reply or SORRY)

    def _say(self, text: str) -> None:
        self._send(llm.ChoiceDelta(role="assistant", content=text))

    def _call(self, tool: llm.FunctionTool | llm.RawFunctionTool, query: str) -> None:
        if isinstance(tool, llm.FunctionTool):
            schema = llm.utils.build_legacy_openai_schema(tool)["function"]["parameters"]
        else:
            schema = tool.info.raw_schema.get("parameters", {})
        argument = next(iter(schema.get("properties", {})), "query")
        call = llm.FunctionToolCall(
            name=tool.info.name, arguments=json.dumps({argument: query}), call_id=utils.shortuuid("call_")
        )
        self._send(llm.ChoiceDelta(role="assistant", tool_calls=[call]))

    def _send(self, delta: llm.ChoiceDelta) -> None:
        self._event_ch.send_nowait(llm.ChatChunk(id=utils.shortuuid("offline_"), delta=delta))


def spoken(result: str) -> str:
    """
    Return a tool's *result* in words for the ear.

    Args:
        result: JSON, `{"status": "answer" | "ask_back" | "decline", "say": …, "answers": [{"question": …,
            "answer": …}], "choices": […]}`, all but the status optional; other text is returned as it is.
    """
    try:
        data = json.loads(result)
    except ValueError:
        return result.strip() or UNKNOWN
    if not isinstance(data, dict):
        return UNKNOWN
    if say := str(data.get("say") or "").strip():
        return say
    if data.get("status") == "answer" and data.get("answers"):
        return str(data["answers"][0]["answer"])
    return UNKNOWN


def small_talk(text: str, chat_ctx: llm.ChatContext) -> str | None:
    """Return the reply to *text* where that needs no look-up, or None where it is something to look up."""
    words = re.sub(r"[^a-z0-9' ]+", " ", text.lower().replace("’", "'")).split()
    said = _HELLO.sub("", " ".join(word for word in words if word not in _FILLERS))
    if said in _PHANTOMS or not set(words) - _HESITATIONS:
        return SAY_AGAIN
    kind = next((kind for kind, phrases in _PHRASES.items() if said in phrases), None)
    match kind:
        case None:
            return None
        case "goodbye":
            return "Thank you for calling. Goodbye!"
        case _ if _asked_back(chat_ctx):
            return None
        case "thanks" if not any(isinstance(item, llm.FunctionCallOutput) for item in chat_ctx.items):
            return SAY_AGAIN  # with nothing to thank for, it is what Whisper makes of a cough
        case "repeat":
            return _last_reply(chat_ctx)
        case _:
            return _REPLIES[kind]


_HESITATIONS = frozenset({"um", "uh", "er", "erm", "hmm", "mm", "ah", "oh", "well", "so"})
_FILLERS = _HESITATIONS | {"please", "just", "then", "okay", "ok", "right", "very", "much"}
_PHANTOMS = frozenset({"you", "the", "a", "and", "i", "thanks for watching", "thank you for watching"})
_HELLO = re.compile(r"^(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening))(?: there)? (?=.)")

_REPLIES = {
    "hello": HELLO,
    "how are you": "I'm well, thank you. What would you like to know?",
    "who": "I'm a computer assistant. I answer questions from our FAQ. What would you like to know?",
    "help": "Of course. Ask me your question in your own words, and I'll look it up.",
    "there": "Yes, I can hear you. What would you like to know?",
    "thanks": "You're welcome. Is there anything else?",
    "yes": "Is there anything else you would like to know?",
    "no": "All right. Just ask if you need anything else.",
    "stop": "All right. Ask me when you are ready.",
}

# What somebody may say without asking anything, by what it means; compared without fillers and greeting.
_PHRASES = {
    kind: frozenset(phrase.strip() for phrase in phrases.split("|"))
    for kind, phrases in {
        "hello": "hi | hello | hey | hiya | hi there | hello there | good morning | good afternoon | good evening",
        "how are you": "how are you | how are you doing | how are you today | nice to meet you",
        "who": "who are you | what are you | what's your name | what is your name | who am i talking to | who "
        "am i speaking to | are you a robot | are you a machine | are you a computer | are you a bot | "
        "are you an ai | are you a human | are you human | are you a person | are you real | are you a "
        "real person | is this a robot | is this a recording | is this a real person | am i talking to "
        "a robot | am i talking to a machine | am i talking to a computer | am i talking to a person | "
        "am i talking to a human | are you a robot or a human",
        "help": "help | help me | can you help | can you help me | could you help me | i need help | i need "
        "some help | what can you do | what can you help me with | what can you help with | what can i "
        "ask | what can i ask you | can i ask you something | can i ask a question | can i ask you a "
        "question | i have a question | i've got a question",
        "there": "can you hear me | are you there | is anyone there | is anybody there | testing | test",
        "thanks": "thank you | thanks | cheers | thanks a lot | thank you so | thank you thank you | thanks "
        "thanks | thank you for that | thank you for your help | thanks for your help | thanks for that "
        "| great thanks | great thank you | lovely thank you | lovely thanks | perfect thank you | "
        "perfect thanks | brilliant thanks | that's great | that's great thank you | that's great "
        "thanks | that's helpful | that's lovely thank you | that's perfect thank you | yes thank you",
        "goodbye": "bye | goodbye | good bye | bye bye | see you | see you later | thanks bye | thank you bye | "
        "thank you goodbye | goodbye thank you | thanks goodbye | that's all | that's it | that's "
        "everything | that is all | that'll be all | that's all thank you | that's all thanks | that's "
        "it thank you | nothing else | no that's all | no that's it | no that's all thank you | no "
        "that's all thanks | no thank you | no thanks | no thank you bye | no thanks bye | no thank you "
        "goodbye | nothing else thank you | never mind | nevermind | i'm done | have a good day | have "
        "a nice day | thank you have a nice day",
        "repeat": "repeat | repeat that | can you repeat that | could you repeat that | can you repeat | can you "
        "say that again | could you say that again | say that again | say it again | what did you say | "
        "what was that | pardon | pardon me | sorry | sorry what | sorry what was that | come again | "
        "once more | one more time | again | i didn't catch that | sorry i didn't catch that | i didn't "
        "hear that | repeat the answer | can you repeat it",
        "yes": "yes | yeah | yep | sure | fine | good | cool | great | lovely | perfect | i see | got it | "
        "understood | all right | that makes sense | makes sense |",
        "no": "no | nope | nah",
        "stop": "stop | stop it | wait | wait a minute | wait a moment | wait a second | hold on | hang on | "
        "one moment | quiet | be quiet | shut up",
    }.items()
}


def _asked_back(chat_ctx: llm.ChatContext) -> bool:
    """Whether the caller is replying to a question back: the last look-up asked one, and nothing was said since."""
    users = 0
    for item in reversed(chat_ctx.items):
        if isinstance(item, llm.FunctionCallOutput):
            return '"ask_back"' in item.output and users <= 1
        users += isinstance(item, llm.ChatMessage) and item.role == "user"
    return False


def _last_reply(chat_ctx: llm.ChatContext) -> str:
    replies = (m.text_content for m in reversed(chat_ctx.messages()) if m.role == "assistant")
    return next((reply for reply in replies if reply), HELLO)


def _tool(tools: list[llm.Tool]) -> llm.FunctionTool | llm.RawFunctionTool | None:
    callable_ = [tool for tool in tools if isinstance(tool, llm.FunctionTool | llm.RawFunctionTool)]
    named = [tool for tool in callable_ if tool.info.name == "lookup_company_info"]
    return next(iter(named or callable_), None)
