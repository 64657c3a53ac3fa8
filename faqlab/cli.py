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
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import faqlab
from faqlab.errors import FaqlabError
from faqlab.settings import exists, settings

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
Price = Annotated[list[str] | None, typer.Option(metavar="NAME=NUMBER", help="What an outcome costs: wrong=5.")]
Minimum = Annotated[list[str] | None, typer.Option("--min", metavar="MEASURE=NUMBER", help="What B needs: hit@1=.7.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report: one HTML file, to send.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Make each line a new conversation.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Events = Annotated[bool, typer.Option("--json", help="Print lines of JSON, for a program that runs this one.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the configuration.")]
Port = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=65535, help="The page's port (default: 8000 or the next free).")
]
Records = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Save look-ups here. Tell callers that their words are kept.")
]

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
    from faqlab.text import replace_surrogates

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
    from faqlab.text import render

    retriever = _retriever(faqs, config, top_k)
    path = queries or settings().queries
    table = load_queries(path, retriever.faqs, split)
    has_splits = bool(table["split"].all())
    results = evaluation.evaluate(retriever, table, progress=sys.stderr.isatty() and not as_json)
    if save:
        best = [" ".join(ids[:10]) for ids in results["ranked"]]
        _write(save, results.assign(ranked=best, relevant=results["relevant"].map(" ".join)).to_csv(index=False))
    measures = evaluation.summarise(results)
    if top_k:
        measures.loc[f"hit@{top_k}"] = evaluation.interval(results["mrr"].dropna() >= 1 / top_k)
    outcomes, kinds = evaluation.outcomes(results), evaluation.by_kind(results)
    plain = evaluation.without_alternatives(retriever, table)
    if as_json:
        report: dict[Any, Any] = {"split": split if has_splits else None, "queries": len(table)}
        report |= measures.to_dict("index")
        report |= {"outcomes": outcomes.to_dict("index"), "by_kind": kinds.to_dict("index")}
        print_json(report | ({"without_alternatives": plain} if plain else {}))
        return
    of = {"queries": len(table), "path": path, "faqs": retriever.faqs, "tuned_on": not has_splits or split == "tune"}
    typer.echo(render("evaluate.txt", **of, measures=measures, outcomes=outcomes, kinds=kinds, plain=plain))


@app.command()
def compare(
    a: Compared,
    b: Compared,
    faqs: Faqs = None,
    queries: Queries = None,
    config: Config = None,
    price: Price = None,
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
    from faqlab.text import render

    if faqs and config:
        raise FaqlabError("--faqs is for two configurations and --config for two FAQs; leave one of them out.")
    prices = comparison.PRICES | _numbers(price, "--price", comparison.PRICES)
    if faqs or queries or config:
        systems = [_retriever(of if config else faqs, config or of, None) for of in (a, b)]
        runs = [evaluate(of, load_queries(queries or settings().queries, of.faqs, "test")) for of in systems]
    else:
        runs = [comparison.load_run(path) for path in (a, b)]
    found = comparison.compare(runs[0], runs[1], prices)
    report = {"a": str(a), "b": str(b), "queries": len(runs[0]), "prices": prices, **found}
    bad = ("wrong_at_once", "false_answer_rate", "cost")  # for which a minimum makes no sense
    wanted = _numbers(minimum, "--min", [name for name in found["measures"] if name not in bad])
    report["below"] = {name: least for name, least in wanted.items() if not found["measures"][name]["b"] >= least}
    if html:
        from faqlab.plots import RESULTS

        _write(html, render("compare.html", **report, looks=RESULTS))
    print_json(report) if as_json else typer.echo(render("compare.txt", **report))
    if report["below"] or any(of["b_is"] == "worse" for of in found["measures"].values()):
        raise typer.Exit(1)


def _numbers(given: list[str] | None, option: str, names: Collection[str]) -> dict[str, float]:
    pairs = [text.partition("=")[::2] for text in given or ()]
    for name, number in pairs:
        if name not in names or not number.replace(".", "", 1).isdecimal():
            raise FaqlabError(f"{option} {name}: write NAME=NUMBER, with one of the names {', '.join(names)}.")
    return {name: float(number) for name, number in pairs}


@app.command()
def check(faqs: Faqs = None, queries: Queries = None, config: Config = None, as_json: Json = False) -> None:
    """
    List what may be wrong with an FAQ and its queries; with --faqs alone, only with the FAQ.

    The exit status is 1 if a query stands in both splits, which is certainly wrong; the rest is for you to judge.
    """
    from faqlab.check import check as find
    from faqlab.queries import load_queries
    from faqlab.text import render

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
    retriever = _retriever(faqs, config, None)
    table = load_queries(queries or settings().queries, retriever.faqs, "tune")
    before = evaluation.result_shares(evaluation.evaluate(retriever, table))
    found, judged = calibration.tune(retriever, table)
    found.save(out)
    shares = before.to_frame("before").assign(after=evaluation.result_shares(judged["this FAQ"])).T
    typer.echo(f"{len(table)} queries to {retriever.faqs.path}, tuned with {len(judged) - 1} other FAQs:")
    typer.echo(shares.to_string(float_format="{:.3f}".format, na_rep="–"))
    typer.echo("The numbers were found on these queries, so the figures are optimistic.")
    typer.echo(f"Written to {out}. To use it, set FAQLAB_RETRIEVAL={out} or name it with --config.")


@app.command("import")
def import_faqs(file: FaqFile, out: Annotated[Path, typer.Option("--out", "-o", metavar="NEW")]) -> None:
    """Read an FAQ from JSON, YAML, CSV, XLSX, Markdown or HTML, and write it as the JSON file that you'll edit."""
    from faqlab.faqs import FaqSet

    FaqSet.load(file).save(out)
    typer.echo(f"Written to {out}. To use it, set FAQLAB_FAQS={out} or name it with --faqs.")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FaqlabError(f"{path}: can't be written ({error.strerror or error}); name another file.") from None


def print_json(data: Any, indent: int | None = 2) -> None:
    """Print *data* with floats rounded to four digits and NaN as null."""
    data = json.loads(json.dumps(data), parse_float=lambda x: round(float(x), 4), parse_constant=lambda nan: None)
    typer.echo(json.dumps(data, indent=indent, ensure_ascii=sys.stdout.encoding.lower() != "utf-8"))


@app.command()
def serve(faqs: Faqs = None, config: Config = None, port: Port = None, records: Records = None) -> None:
    """Run the live demo, until Ctrl-C: LiveKit server, page and agent."""
    config = config_file(config)
    _progress("Starting.")
    from faqlab.voice.demo import LiveDemo

    demo = LiveDemo(faqs=faqs, config=config, port=port, records=records, progress=_progress)
    with _until_ctrl_c(demo):
        typer.echo(f"Join at {demo.start().url} (Ctrl-C ends it)")


@app.command()
def agent(faqs: Faqs = None, config: Config = None, records: Records = None, events: Events = False) -> None:
    """Run a voice agent for the LiveKit server in LIVEKIT_URL. Start several for more calls."""
    config, livekit = config_file(config), _livekit()
    from faqlab.voice.call import Assistant
    from faqlab.voice.lookup_log import LookupLog
    from faqlab.voice.pipeline import choose_pipeline
    from faqlab.voice.worker import Worker

    pipeline = choose_pipeline(settings())

    def tell(line: str, **more: str) -> None:
        typer.echo(json.dumps({"progress": line, **more})) if events else _progress(line)

    tell(f"Loading the models. Speech and replies: {pipeline.name}.")
    log = LookupLog(records or settings().records)
    if events:
        log.subscribers.append(lambda record: typer.echo(f'{{"lookup": {record.to_json()}}}'))
    assistant = Assistant.load(pipeline, log, faqs or settings().faqs, config)
    lines = settings().calls or pipeline.lines()
    worker = Worker(livekit, assistant, settings().agent_name, lines)
    with _until_ctrl_c(worker):
        worker.start()
        ready = f"Answering up to {lines} calls at a time, as {settings().agent_name} at {livekit.url}."
        tell(ready, ready=worker.identity)


@app.command()
def tokens(port: Port = None) -> None:
    """Serve the page, and tokens to join calls on the LiveKit server in LIVEKIT_URL."""
    from faqlab.voice.token_server import TokenServer

    server = TokenServer(_livekit(), settings(), port or settings().port)
    with _until_ctrl_c(server):
        typer.echo(f"Join at {server.start().url} (Ctrl-C ends it)")


def _livekit() -> LiveKit:
    from faqlab.voice.livekit_server import livekit_from_settings

    if livekit := livekit_from_settings(settings()):
        return livekit
    raise FaqlabError("LIVEKIT_URL isn't set; set it, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or use `faqlab serve`.")


@contextmanager
def _until_ctrl_c(server: LiveDemo | BackgroundService) -> Iterator[None]:
    """Run the block, wait for Ctrl-C or SIGTERM, and stop *server*; exit with 1 if it stopped unexpectedly."""

    def handle(handler: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handler)

    def interrupt(*_: object) -> None:
        handle(signal.SIG_IGN)  # a second signal would interrupt the stop
        raise KeyboardInterrupt

    handle(interrupt)  # also in a background job of a script, for which shells have SIGINT ignored
    try:
        with suppress(KeyboardInterrupt):
            yield
            while not (problem := server.problem):
                time.sleep(1)
            _progress(f"faqlab: {problem}")
            raise typer.Exit(1)
    finally:
        handle(signal.SIG_IGN)
        server.stop()


def _retriever(faqs: Path | None, config: Path | None, top_k: int | None) -> Retriever:
    from faqlab.config import RetrievalConfig
    from faqlab.faqs import FaqSet
    from faqlab.retriever import Retriever

    chosen = RetrievalConfig.load(config_file(config))
    if top_k is not None:
        chosen = chosen.with_changes(top_k=top_k)
    return Retriever.build(FaqSet.load(faqs or settings().faqs), chosen, progress=sys.stderr.isatty())


def config_file(option: Path | None) -> Path:
    """Return the file of *option*, or that of the settings; FaqlabError if *option* names none."""
    if option and not exists(option):  # a missing file in the settings means the baseline
        raise FaqlabError(f"{option}: no such file; leave out --config to use {settings().retrieval}.")
    return option or settings().retrieval
