"""The command line: look up (`faqlab ask`, `chat`), measure (`evaluate` to `check`), and serve calls."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import faqlab
from faqlab.errors import FaqlabError
from faqlab.settings import exists, settings
from faqlab.text import render, replace_surrogates, write_text

# Everything else is imported where it's needed: pandas and LiveKit alone would double the time of `ask`.
if TYPE_CHECKING:
    from faqlab.retriever import Answer, Retriever
    from faqlab.voice.demo import LiveDemo
    from faqlab.voice.livekit_server import LiveKit
    from faqlab.voice.services import BackgroundService

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Query = Annotated[str, typer.Argument(help="The question.", metavar="QUERY")]
Faqs = Annotated[Path | None, typer.Option("--faqs", metavar="PATH", help="The FAQ, in any format of data/README.md.")]
FaqFile = Annotated[Path, typer.Argument(help="The FAQ.", metavar="FILE")]
Queries = Annotated[Path | None, typer.Option("--queries", metavar="PATH", help="Labelled queries: CSV or XLSX.")]
Split = Annotated[Literal["tune", "test"], typer.Option(help="Which queries, if the file has splits.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="PATH", help="The configuration, a JSON file.")]
TopK = Annotated[int | None, typer.Option("--top-k", metavar="N", help="How many entries to return.")]
Save = Annotated[Path | None, typer.Option("--save", "--per-query", metavar="FILE", help="Write a row per query, CSV.")]
Compared = Annotated[Path, typer.Argument(metavar="FILE", help="A configuration, FAQ or saved run.")]
Minimum = Annotated[list[str] | None, typer.Option("--min", metavar="MEASURE=NUMBER", help="What B needs: hit@1=.7.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report: one HTML file, to send.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Make each line a new conversation.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Events = Annotated[bool, typer.Option("--json", help="Print lines of JSON, for a program that runs this one.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the configuration.")]
Port = Annotated[int | None, typer.Option(metavar="N", min=1, max=65535, help="Port of the page (8000 or a free one).")]
Records = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Save look-ups here. Tell callers that you do.")]

_progress = partial(typer.echo, err=True)


def main() -> None:
    """Run the command line. A `FaqlabError` is printed to stderr as one sentence, with exit status 2."""
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):  # stderr's own default
        if isinstance(stream, io.TextIOWrapper):  # encodings other than UTF-8 lack some characters
            stream.reconfigure(errors=errors)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if sys.stderr.isatty():
        logging.getLogger("faqlab.cache").setLevel(logging.INFO)
    try:
        app()
    except FaqlabError as error:
        _progress(f"faqlab: {error}")
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _progress("faqlab: there is no space left for the output; free some, or write to another disk.")
        os._exit(2)  # at an ordinary exit, Python would write what is left of the output


@app.callback(invoke_without_command=True, no_args_is_help=True)
def _faqlab(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Ask an FAQ, talk to it, and measure how often a question finds its answer."""
    if version:
        typer.echo(f"faqlab {faqlab.__version__}")
        raise typer.Exit


@app.command()
def ask(query: Query, faqs: Faqs = None, top_k: TopK = None, config: Config = None, as_json: Json = False) -> None:
    """Ask one question: print what the assistant says, and the best entries."""
    from faqlab.conversation import Conversation
    from faqlab.replies import reply
    from faqlab.small_talk import SmallTalk

    retriever = _retriever(faqs, config, top_k)
    answer = Conversation(retriever, SmallTalk.load(retriever.encoder)).ask(replace_surrogates(query))
    if as_json:
        print_json(answer.as_dict())
        return
    typer.echo(f"{reply(answer, retriever.faqs)}\n")
    typer.echo(f"Outcome: {answer.outcome} ({answer.reason.replace('_', ' ')}). Best entries:")
    score = "cosine" if retriever.config.scale is None else "probability"
    for rank, hit in enumerate(answer.hits, start=1):
        typer.echo(f"{rank}. {hit.faq.question}   ({score} {hit.score:.2f}, squared L2 {hit.squared_l2:.2f})")


@app.command()
def chat(
    faqs: Faqs = None, top_k: TopK = None, config: Config = None, fresh: Fresh = False, as_json: Json = False
) -> None:
    """Chat with the offline agent, by keyboard or from a pipe. Ctrl-D ends the chat."""
    from faqlab.replies import GREETING
    from faqlab.voice.chat import chat as converse

    def emit(said: str, answer: Answer | None) -> None:
        if as_json:
            report = answer.as_dict() if answer else {"hits": [], "choices": []}
            found = {key: report.get(key) for key in ("outcome", "reason", "hits", "choices")}
            print_json({"said": said, **found}, indent=None)
        else:
            typer.echo(said)

    retriever = _retriever(faqs, config, top_k)
    if not as_json:
        typer.echo(GREETING)
    # With the default handler, asyncio would act on the first Ctrl-C only after the next line.
    signal.signal(signal.SIGINT, lambda number, frame: signal.default_int_handler(number, frame))
    prompt = "> " if sys.stdin.isatty() and sys.stdout.isatty() and not as_json else ""
    with suppress(EOFError):
        asyncio.run(converse(iter(lambda: input(prompt), None), retriever, emit, fresh))


@app.command()
def evaluate(
    faqs: Faqs = None,
    queries: Queries = None,
    split: Split = "test",
    top_k: TopK = None,
    config: Config = None,
    save: Save = None,
    as_json: Json = False,
) -> None:
    """Measure ranking and decisions on labelled queries, with 95% confidence intervals."""
    from faqlab import evaluation
    from faqlab.queries import load_queries

    retriever = _retriever(faqs, config, top_k)
    path = queries or settings().queries
    _check_output(save, faqs, path, config)
    table = load_queries(path, retriever.faqs, split)
    has_splits = bool(table["split"].all())
    results = evaluation.evaluate(retriever, table)
    if save:
        best = [" ".join(ids[:10]) for ids in results["ranked"]]
        saved = results.assign(ranked=best, relevant=results["relevant"].map(" ".join))
        write_text(save, saved.to_csv(index=False), "name another file")
    measures = evaluation.summarise(results)
    if top_k:
        measures.loc[f"hit@{top_k}"] = evaluation.interval(results["mrr"].dropna() >= 1 / top_k)
    tables = {"outcomes": evaluation.outcomes(results), "by_kind": evaluation.by_kind(results)}
    plain = evaluation.without_alternatives(retriever, table)
    if as_json:
        report = {"split": split if has_splits else None, "queries": len(table), **measures.to_dict("index")}
        report |= {name: of.to_dict("index") for name, of in tables.items()}
        print_json(report | ({"without_alternatives": plain} if plain else {}))
        return
    of = {"queries": len(table), "path": path, "faqs": retriever.faqs, "tuned_on": not has_splits or split == "tune"}
    typer.echo(render("evaluate.txt", **of, measures=measures, **tables, plain=plain))


@app.command()
def compare(
    a: Compared,
    b: Compared,
    faqs: Faqs = None,
    queries: Queries = None,
    config: Config = None,
    minimum: Minimum = None,
    html: Html = None,
    as_json: Json = False,
) -> None:
    """
    Compare B with A: saved runs of `evaluate`; with --faqs or --queries configurations, with --config FAQs.

    The exit status is 1 if B is significantly worse in hit@1 or cost, or below --min.
    """
    from faqlab import compare as comparison
    from faqlab.evaluation import evaluate
    from faqlab.queries import load_queries

    if faqs and config:
        raise FaqlabError("--faqs is for two configurations and --config for two FAQs; leave one of them out.")
    _check_output(html, a, b, faqs, queries, config)
    asked = ""
    if faqs or queries or config:
        path = queries or settings().queries
        asked = f"{path}" if config else f"{path} (FAQ: {faqs or settings().faqs})"
        systems = [_retriever(of if config else faqs, config or of, None) for of in (a, b)]
        runs = [evaluate(of, load_queries(path, of.faqs, "test")) for of in systems]
    else:
        runs = [comparison.load_run(path) for path in (a, b)]
    found = comparison.compare(*runs)
    measures, least = found["measures"], [text.partition("=")[::2] for text in minimum or ()]
    names = [*measures.keys() - {"wrong_at_once", "false_answer_rate", "cost"}]  # of which less is better
    for name, number in least:
        if name not in names or not number.replace(".", "", 1).isdecimal():
            raise FaqlabError(f"--min {name}: write NAME=NUMBER, with one of the names {', '.join(sorted(names))}.")
    below = {name: float(number) for name, number in least if not measures[name]["b"] >= float(number)}
    compared = {"a": str(a), "b": str(b), "of": asked, "queries": len(runs[0])}
    report = {**compared, "prices": comparison.PRICES, **found, "below": below}
    if html:
        from faqlab.plots import RESULTS

        write_text(html, render("compare.html", **report, looks=RESULTS), "name another file")
    print_json(report) if as_json else typer.echo(render("compare.txt", **report))
    if below or any(of["b_is"] == "worse" for of in measures.values()):
        raise typer.Exit(1)


@app.command()
def check(faqs: Faqs = None, queries: Queries = None, config: Config = None, as_json: Json = False) -> None:
    """
    List what may be wrong with an FAQ and its queries; with --faqs alone, only with the FAQ.

    The exit status is 1 if a query is in both splits, which is certainly wrong; the rest is for you to judge.
    """
    from faqlab.check import check as find
    from faqlab.queries import load_queries

    retriever = _retriever(faqs, config, None)
    path = None if faqs and not queries else queries or settings().queries
    findings = find(retriever, load_queries(path, retriever.faqs) if path else None)
    print_json(findings) if as_json else typer.echo(render("check.txt", findings=findings, faqs=retriever.faqs))
    if findings.get("in_both_splits"):
        raise typer.Exit(1)


@app.command()
def tune(out: Out, faqs: Faqs = None, queries: Queries = None, config: Config = None) -> None:
    """Find the numbers of the configuration on your `tune` queries and some other FAQs, as notebook 3 does."""
    from faqlab import calibration, evaluation
    from faqlab.queries import load_queries

    if out.is_dir():
        raise FaqlabError(f"{out}: a folder; name a file with -o.")
    _check_output(out, faqs, queries)
    retriever = _retriever(faqs, config, None)
    table = load_queries(queries or settings().queries, retriever.faqs, "tune")
    before = evaluation.result_shares(evaluation.evaluate(retriever, table))
    found, judged = calibration.tune(retriever, table)
    found.save(out)
    shares = before.to_frame("before").assign(after=evaluation.result_shares(judged["this FAQ"])).T
    of = {"queries": len(table), "faqs": retriever.faqs, "others": len(judged) - 1}
    typer.echo(render("tune.txt", **of, shares=shares, out=out))


@app.command("import")
def import_faqs(file: FaqFile, out: Annotated[Path, typer.Option("--out", "-o", metavar="NEW")]) -> None:
    """Read an FAQ from JSON, YAML, CSV, XLSX, Markdown or HTML, and write it as the JSON file that you'll edit."""
    from faqlab.faqs import FaqSet

    if out.suffix.lower() != ".json":
        raise FaqlabError(f"{out}: only JSON is written; name a file that ends in .json.")
    FaqSet.load(file).save(out)
    typer.echo(f"Written to {out}. To use it, set FAQLAB_FAQS={out} or name it with --faqs.")


def _check_output(out: Path | None, *inputs: Path | None) -> None:
    """Refuse to write over the FAQ, the queries or another file of *inputs*."""
    for path in filter(None, (*inputs, settings().faqs, settings().queries)):
        if out and exists(out) and exists(path) and out.samefile(path):
            raise FaqlabError(f"{out}: this file is read, so it isn't written over; name another file.")


def print_json(data: Any, indent: int | None = 2) -> None:
    """Print *data* with floats rounded to four digits and NaN as null."""
    data = json.loads(json.dumps(data), parse_float=lambda x: round(float(x), 4), parse_constant=lambda nan: None)
    typer.echo(json.dumps(data, indent=indent, ensure_ascii=sys.stdout.encoding.lower() != "utf-8"))


@app.command()
def serve(faqs: Faqs = None, config: Config = None, port: Port = None, records: Records = None) -> None:
    """Run the live demo, until Ctrl-C: LiveKit server, page and agent."""
    from faqlab.config import RetrievalConfig

    RetrievalConfig.load(config)  # to say at once what is wrong with it
    _progress("Starting.")
    from faqlab.voice.demo import LiveDemo

    demo = LiveDemo(faqs=faqs, config=config, port=port, records=records, progress=_progress)
    _serve(demo, lambda: typer.echo(f"Join at {demo.url} (Ctrl-C ends it)"))


@app.command()
def agent(faqs: Faqs = None, config: Config = None, records: Records = None, events: Events = False) -> None:
    """Run a voice agent for the LiveKit server in LIVEKIT_URL. Start several for more calls."""
    livekit = _livekit()
    from faqlab.lookup_log import LookupLog
    from faqlab.voice.call import Assistant
    from faqlab.voice.pipeline import choose_pipeline
    from faqlab.voice.worker import Worker

    pipeline = choose_pipeline(settings())

    def tell(line: str, **more: str) -> None:
        typer.echo(json.dumps({"progress": line, **more})) if events else _progress(line)

    tell(f"Loading the models. Speech and replies: {pipeline.name}.")
    log = LookupLog(records or settings().records)
    if events:
        log.subscribers.append(lambda record: typer.echo(f'{{"lookup": {record.to_json()}}}'))
    assistant = Assistant.load(pipeline, log, faqs or settings().faqs, config or settings().retrieval)
    lines = settings().calls or pipeline.lines()
    worker = Worker(livekit, assistant, settings().agent_name, lines)
    ready = f"Answering up to {lines} calls at a time, as {settings().agent_name} at {livekit.url}."
    _serve(worker, lambda: tell(ready, ready=worker.identity))


@app.command()
def tokens(port: Port = None) -> None:
    """Serve the page, and tokens to join calls on the LiveKit server in LIVEKIT_URL."""
    from faqlab.voice.token_server import TokenServer

    server = TokenServer(_livekit(), settings(), port or settings().port)
    _serve(server, lambda: typer.echo(f"Join at {server.url} (Ctrl-C ends it)"))


def _livekit() -> LiveKit:
    from faqlab.voice.livekit_server import livekit_from_settings

    if livekit := livekit_from_settings(settings()):
        return livekit
    raise FaqlabError("LIVEKIT_URL isn't set; set it, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or use `faqlab serve`.")


def _serve(server: LiveDemo | BackgroundService, announce: Callable[[], None]) -> None:
    """Start *server*, *announce* it, and stop it at Ctrl-C or SIGTERM; FaqlabError if it stops unexpectedly."""

    def handle(handler: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handler)

    def interrupt(*_: object) -> None:
        handle(signal.SIG_IGN)  # a second signal would interrupt the stop
        raise KeyboardInterrupt

    handle(interrupt)  # also in a background job of a script, for which shells have SIGINT ignored
    try:
        with suppress(KeyboardInterrupt):
            server.start()
            announce()
            while not (problem := server.problem):
                time.sleep(1)
            raise FaqlabError(problem)
    finally:
        handle(signal.SIG_IGN)
        server.stop()


def _retriever(faqs: Path | None, config: Path | None, top_k: int | None) -> Retriever:
    from faqlab.config import RetrievalConfig
    from faqlab.faqs import FaqSet
    from faqlab.retriever import Retriever

    chosen = RetrievalConfig.load(config)
    if top_k is not None:
        chosen = chosen.with_changes(top_k=top_k)
    return Retriever.build(FaqSet.load(faqs or settings().faqs), chosen)
