"""
Queries asked in calls: how many are answered right, how soon, and whether the agent cuts in on a pause.

Caller, agent and LiveKit server share this machine, so no network adds to the times, but the three compete for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jiwer
import numpy as np
import pandas as pd

from benchmarks import command
from benchmarks.call_audio import utterances
from benchmarks.scripted_caller import Exchange, call_table, place_calls
from benchmarks.spoken import lost_at, word_errors
from benchmarks.voices import FITTED, HELD_OUT, available
from benchmarks.words import normalise_words
from faqlab.errors import FaqlabError
from faqlab.evaluation import evaluate
from faqlab.faqs import FaqSet
from faqlab.retriever import Retriever
from faqlab.settings import settings
from faqlab.voice.demo import LiveDemo

PARTS = {
    "transcript": ["transcript_ms"],
    "turn": ["turn_ms"],
    "look-up": ["embed_ms", "search_ms"],
    "speech": ["voice_ms"],
}
"""The parts of a response time that the agent measures, as columns of the call table."""

PAUSES_S = (0.3, 0.5, 0.8)
PAUSED_QUERIES = 8
WORDS_TO_PAUSE = 4  # half of a shorter query would be a single word

VOICES = ", ".join(FITTED + HELD_OUT)
VoiceOption = Annotated[str, command.typer.Option("--voice", metavar="NAME", help=f"The caller's voice: {VOICES}.")]

HANG_UP_AFTER_S = 1.0
"""Counted from the start of the answer: everything that is measured has happened by then."""

INTERRUPTION = "Excuse me, I have another question."
INTERRUPT_AFTER_S = 0.5

BACKCHANNELS = ("Okay.", "Mm-hmm.", "Yeah.", "Right.", "Uh-huh.")
BACKCHANNEL_AFTER_S = 2.0
BACKCHANNELLED = 2  # of the FAQ's own questions, those with the longest answers

STORY = (
    "Hello, this may take a moment, because I want to tell you everything from the beginning. "
    "About three weeks ago my sister and her husband moved into their first flat, which is on the fourth floor. "
    "They have no lift, so we carried everything up the stairs, and by the evening we were all very tired. "
    "We sat down on the boxes, and somebody said that it would be nice to give them something for the new kitchen. "
    "My brother wanted to buy plates, and my mother thought of a lamp for the table by the window. "
    "I looked at both of them for a whole evening, and in the end I couldn't decide on anything. "
    "Then a colleague of mine told me about your page, and that she had been very happy with it for years. "
    "So I sat down with a cup of tea on Sunday, and I read a little here and there. "
    "My daughter sat next to me, and she liked the blue one with the white dots, and I liked the plain one. "
    "Only then I saw that there was a long text about it, and to be honest, I didn't read that to the end. "
    "My husband thinks that one should always read these things, but he has never bought anything on a page himself. "
    "Before I do anything now, there is one thing that I would really like to know. "
)
"""A monologue of a minute, with a breath after each sentence; the FAQ's first question comes at its end."""


def main(
    faqs: command.FaqsOption = None,
    queries: command.QueriesOption = None,
    split: command.SplitOption = "test",
    number: command.NumberOption = 20,
    at_once: command.AtOnceOption = 1,
    config: command.ConfigOption = None,
    voice: VoiceOption = "hibari",
    brief: Annotated[
        bool, command.typer.Option("--brief", help="Skip pauses, interruptions, backchannels and the monologue.")
    ] = False,
    as_json: command.JsonOption = False,
) -> None:
    """
    Ask labelled queries in calls to the offline agent. Then, unless --brief, ask some again with a pause in the middle,
    interrupt the answers to some, say "okay" and the like over others, and tell a story, in one call at a time.
    """
    if voice not in available():
        remedy = "Debian's flite and espeak-ng bring all but hibari"
        raise FaqlabError(f"--voice {voice}: expected {', '.join(available())} ({remedy}).")
    faqs = faqs or settings().faqs
    retriever = Retriever.build(FaqSet.load(faqs), command.read_config(config))
    labelled = command.read_queries(queries, retriever.faqs, split, number)
    with offline_demo(faqs, config or settings().retrieval, command.progress) as demo:
        report = measure(demo, retriever, labelled, at_once, voice)
        if not brief:
            report |= measure_turns(demo, retriever.faqs, labelled, voice)
    if as_json:
        command.print_json(report)
    else:
        command.typer.echo(format_report(report))


def offline_demo(faqs: Path, config: Path, progress: Callable[[str], None]) -> LiveDemo:
    """Return a demo, not started, with the offline models and a server on this machine, whatever the settings say."""
    names = ("google_api_key", "livekit_url", "livekit_api_key", "livekit_api_secret", "records", "port")
    keyless = settings().model_copy(update=dict.fromkeys(names))
    return LiveDemo(faqs=faqs, config=config, settings=keyless, progress=progress)


def measure(
    demo: LiveDemo, retriever: Retriever, queries: pd.DataFrame, at_once: int = 1, voice: str = "hibari"
) -> dict[str, Any]:
    """
    Ask *queries*, each in its own call.

    Args:
        demo: A running demo.
        retriever: What its agent answers with.
        queries: As `load_queries` returns them.
        at_once: How many calls are held at the same time.
        voice: The caller's voice, one of `benchmarks.voices.FITTED` or `HELD_OUT`.

    Returns:
        Values for JSON: `queries`, `at_once`, `voice`; `word_error_rate`, of what was looked up; `right` and `lost_at`:
        how many ended well, and how many were lost at each stage (see `label_calls`); `first_right`: how many are
        `answerable`, and for how many of these a right entry came first in the `calls` and when `typed`; `response`,
        see `response_times`; and `cut_in`, in how many the agent spoke before the caller had finished, without a pause.
    """
    asked = list(queries["query"])
    exchanges = place_calls(demo, asked, at_once, progress="Calls", voice=voice, hang_up_after=HANG_UP_AFTER_S)
    calls = label_calls(call_table(exchanges, demo), queries, retriever)
    words, errors = np.sum([word_errors(of.query, looked_up(of)) for of in exchanges], axis=0)
    return {
        "queries": len(queries),
        "at_once": at_once,
        "voice": voice,
        "word_error_rate": float(errors / words),
        "right": int(calls["right"].sum()),
        "lost_at": calls.loc[~calls["right"], "lost_at"].value_counts().to_dict(),
        "first_right": {
            "answerable": int(queries["answerable"].sum()),
            "calls": int(calls["first_right"].sum()),
            "typed": int((evaluate(retriever, queries)["hit@1"] == 1).sum()),
        },
        "response": response_times(calls),
        "cut_in": sum(exchange.cut_in for exchange in exchanges),
    }


def measure_turns(demo: LiveDemo, faqs: FaqSet, queries: pd.DataFrame, voice: str) -> dict[str, Any]:
    """
    Ask some of *queries* with a pause in the middle, interrupt answers, say "okay" and the like over others, and tell
    a story: in one call at a time.

    Args:
        demo, queries, voice: As in `measure`.
        faqs: Its FAQ, whose longest answers are talked over.

    Returns:
        Values for JSON: `pauses`, one `pause_figures` for each of `PAUSES_S`; `interruptions`, see
        `interruption_figures`; `backchannels`, see `measure_backchannels`; and `monologue`, see `measure_monologue`.
    """
    long_enough = queries[[len(query.split()) >= WORDS_TO_PAUSE for query in queries["query"]]]
    some = list(command.choose_queries(long_enough, PAUSED_QUERIES)["query"])
    call = partial(place_calls, demo, some, voice=voice)
    paused = {s: call(progress=f"Pauses, {s} s", pause=s, hang_up_after=HANG_UP_AFTER_S) for s in PAUSES_S}
    stop: dict[str, Any] = {"interrupt": INTERRUPTION, "interrupt_after": INTERRUPT_AFTER_S, "hang_up_after": 0}
    interrupted = call(progress="Interruptions", **stop)
    return {
        "pauses": [pause_figures(exchanges, pause) for pause, exchanges in paused.items()],
        "interruptions": interruption_figures(interrupted),
        "backchannels": measure_backchannels(demo, faqs, voice),
        "monologue": measure_monologue(demo, faqs, voice),
    }


def label_calls(calls: pd.DataFrame, queries: pd.DataFrame, retriever: Retriever) -> pd.DataFrame:
    """
    Compare calls with the labels of their queries.

    Args:
        calls: From `scripted_caller.call`.
        queries: From `load_queries`; the same queries, in the same order.
        retriever: The agent's.

    Returns:
        *calls* with `kind`, `relevant`, `first_right` (whether a right entry came first), `right`, and `lost_at`: "" if
        the call ended well, else the stage at which it was lost. To those of `spoken.lost_at` come *look-up*, if the
        query is answerable and no look-up succeeded, and *speech*, if all else is right and no reply was received.
    """
    queries = queries.reset_index(drop=True)
    relevant = [set(ids) for ids in queries["relevant"]]
    found = calls.assign(
        answerable=queries["answerable"],
        **{"hit@1": [float(bool(set(ids[:1]) & of)) for ids, of in zip(calls["retrieved"], relevant, strict=True)]},
        choice_right=[bool(set(ids) & of) for ids, of in zip(calls["offered"], relevant, strict=True)],
    )
    losses = lost_at(found, evaluate(retriever, queries))
    not_looked_up = (calls["outcome"].isna() | (calls["outcome"] == "failed")) & queries["answerable"]
    silent = (losses == "") & (calls["reply"] == "") & calls["first_audio_ms"].isna()
    stages = np.select([not_looked_up, silent], ["look-up", "speech"], losses)
    labels = queries[["kind", "relevant"]]
    return calls.assign(**labels, first_right=found["hit@1"] == 1, right=stages == "", lost_at=stages)


def response_times(calls: pd.DataFrame) -> dict[str, Any]:
    """
    Return how soon the answers began, by the table of `scripted_caller.call`.

    Returns:
        `calls`: how many count, which are those with a look-up and an answer, where the agent didn't cut in; `p50_ms`
        and `p95_ms` from the end of the caller's speech to the first audio at the caller; `parts_p50_ms`: the medians
        of `PARTS`, and of the rest, `transport`, which is silence detection and transport. None if no call counts.
    """
    counted = calls[~calls["cut_in"].astype(bool)].dropna(subset=["first_audio_ms", "voice_ms"])
    parts = pd.DataFrame({name: counted[columns].sum(axis=1) for name, columns in PARTS.items()})
    parts["transport"] = counted["first_audio_ms"] - parts.sum(axis=1)
    return {
        "calls": len(counted),
        "p50_ms": _percentile(counted["first_audio_ms"], 50),
        "p95_ms": _percentile(counted["first_audio_ms"], 95),
        "parts_p50_ms": {str(name): _percentile(part, 50) for name, part in parts.items()},
    }


def pause_figures(exchanges: Sequence[Exchange], pause: float) -> dict[str, Any]:
    """
    Return what the agent did about a *pause* (seconds) in the middle of the query.

    Returns:
        `pause_s`; `queries`; `cut_in`: in how many it spoke before the caller had finished; `stopped`: in how many of
        these it was silent again by then; `whole`: for how many of those it then looked up both halves as one question;
        `spoke_p50_s`: the median of how long it spoke when it cut in.
    """
    cut_in = [exchange for exchange in exchanges if exchange.cut_in]
    stopped = [exchange for exchange in cut_in if _stopped(exchange)]
    return {
        "pause_s": pause,
        "queries": len(exchanges),
        "cut_in": len(cut_in),
        "stopped": len(stopped),
        "whole": sum(holds_both_halves(exchange.query, looked_up(exchange)) for exchange in stopped),
        "spoke_p50_s": _percentile([end - at for of in cut_in for at, end in utterances(of.audio)[:1]], 50, digits=2),
    }


def interruption_figures(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Return for how many `queries` the agent `stopped` its answer when it was interrupted, and how soon."""
    seconds = [exchange.stopped_after_s for exchange in exchanges if exchange.stopped_after_s is not None]
    return {
        "queries": len(exchanges),
        "stopped": len(seconds),
        "stopped_p50_s": _percentile(seconds, 50, digits=2),
        "stopped_max_s": _percentile(seconds, 100, digits=2),
    }


def measure_backchannels(demo: LiveDemo, faqs: FaqSet, voice: str) -> dict[str, int]:
    """Say each of `BACKCHANNELS` over some long answers; return how many there were, and how many `went_on`."""
    longest = sorted(faqs, key=lambda faq: -len(faq.answer))[:BACKCHANNELLED]
    questions = [faq.question for faq in longest]
    whole = [normalise_words(of.reply) for of in place_calls(demo, questions, progress="Long answers", voice=voice)]
    went_on = 0
    for words in BACKCHANNELS:
        over: dict[str, Any] = {"voice": voice, "interrupt": words, "interrupt_after": BACKCHANNEL_AFTER_S}
        calls = place_calls(demo, questions, progress=f"{words} over answers", **over)
        replies = [normalise_words(of.reply) for of in calls]
        went_on += sum(reply == answer != "" for reply, answer in zip(replies, whole, strict=True))
    return {"answers": len(BACKCHANNELS) * len(questions), "went_on": went_on}


def measure_monologue(demo: LiveDemo, faqs: FaqSet, voice: str) -> dict[str, Any]:
    """Return how many `seconds` the `STORY` took, if it was `talked_over`, and if its question was `answered` right."""
    asked = [STORY + faqs.entries[0].question]
    [story] = place_calls(demo, asked, progress="Monologue", voice=voice, hang_up_after=HANG_UP_AFTER_S)
    found = [hits[0]["id"] for lookup in story.lookups if (hits := lookup["hits"])]
    answered = found == [faqs.entries[0].id] and story.first_audio_s is not None
    return {"seconds": round(story.speech_end_s), "talked_over": story.cut_in, "answered": answered}


def looked_up(exchange: Exchange) -> str:
    """Return what the agent took the question to be: its last look-up or, if there was none, its transcript."""
    return str(exchange.lookups[-1]["query"]) if exchange.lookups else exchange.transcript


def holds_both_halves(query: str, transcript: str) -> bool:
    """Whether *transcript* has at least half of the words of each half of *query*, in the same order."""
    said, words = normalise_words(query).split(), normalise_words(transcript).split()
    if len(said) < 2 or not words:
        return False
    [chunks] = jiwer.process_words(" ".join(said), " ".join(words)).alignments
    right = [n for chunk in chunks if chunk.type == "equal" for n in range(chunk.ref_start_idx, chunk.ref_end_idx)]
    middle = len(said) // 2
    first = sum(n < middle for n in right)
    return 2 * first >= middle and 2 * (len(right) - first) >= len(said) - middle


def _stopped(exchange: Exchange) -> bool:
    end_of_speech = exchange.speech_end_s
    return all(end < end_of_speech for at, end in utterances(exchange.audio) if at < end_of_speech)


def _percentile(values: Any, percent: float, digits: int = 0) -> float | None:
    return round(float(np.percentile(values, percent)), digits) if len(values) else None


def format_report(report: dict[str, Any]) -> str:
    """Return the report of `measure`, and of `measure_turns` if it has that, as text."""
    first, response = report["first_right"], report["response"]
    parts = response["parts_p50_ms"]
    lost = ", ".join(f"{count} at {stage}" for stage, count in report["lost_at"].items())
    rows = {
        "ended well": f"{report['right']} of {report['queries']}" + (f" (lost: {lost})" if lost else ""),
        "a right entry first": f"{first['calls']} of {first['answerable']} (typed: {first['typed']})",
        "cut in": f"{report['cut_in']} of {report['queries']}",
        "word error rate": f"{report['word_error_rate']:.1%}",
        "end of speech to first audio": f"p50 {_ms(response['p50_ms'])}, p95 {_ms(response['p95_ms'])}"
        f" ({response['calls']} calls)",
        "  transcript": _ms(parts["transcript"]),
        "  start of look-up": _ms(parts["turn"]),
        "  look-up": _ms(parts["look-up"]),
        "  start of speech": _ms(parts["speech"]),
        "  silence detection, transport": _ms(parts["transport"]),
    }
    lines = [
        f"{report['queries']} queries by {report['voice']}, each in its own call, {report['at_once']} at once;"
        " parts are medians",
        "",
        *(f"{name:30} {value}" for name, value in rows.items()),
    ]
    if "pauses" in report:
        table = pd.DataFrame(report["pauses"]).astype({"spoke_p50_s": float})
        stops = report["interruptions"]
        lines += [
            "",
            "One call at a time. Pauses in the middle of a query: in how many the agent cut in; in how many of these",
            "it stopped before the caller had finished; and in how many of those it then looked up the whole question",
            "",
            table.to_string(index=False, na_rep="–"),
            "",
            f"Interruptions: the agent stopped speaking in {stops['stopped']} of {stops['queries']},"
            f" after {stops['stopped_p50_s']} s (median), {stops['stopped_max_s']} s (longest)",
            'Backchannels ("okay", "mm-hmm" …): {went_on} of {answers} answers went on'.format(
                **report["backchannels"]
            ),
            "A monologue of {seconds} s: talked over: {talked_over}, its question answered: {answered}".format(
                **report["monologue"]
            ),
        ]
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


if __name__ == "__main__":
    command.run(main)
