"""The command line: `faqlab ask`, `evaluate`, `bench`, `train`, `prepare`; and by voice: `serve`, `agent`, `tokens`."""

from __future__ import annotations

import codecs
import io
import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

import faqlab
from faqlab.errors import FaqlabError
from faqlab.settings import PROJECT_ROOT, exists, settings

app = typer.Typer(
    help="Put a question to an FAQ, and measure how well questions find their answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FaqsOption = Annotated[Path | None, typer.Option("--faqs", metavar="PATH", help="The FAQ, a JSON file.")]
QueriesOption = Annotated[Path | None, typer.Option("--queries", metavar="PATH", help="Labelled queries, a CSV file.")]
TopKOption = Annotated[int | None, typer.Option("--top-k", metavar="N", help="How many answers to retrieve.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="PATH", help="How to retrieve, a JSON file.")]
PortOption = Annotated[
    int | None,
    typer.Option("--port", metavar="N", min=1, max=65535, help="Of the page; 8000 or the next free one if left out."),
]
RecordsOption = Annotated[
    Path | None,
    typer.Option(
        "--records", metavar="FOLDER", help="Keep each look-up there. Callers' words are personal: they must know."
    ),
]
SplitOption = Annotated[str, typer.Option(help="Which queries of a file with a split column: tune or test.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FEW_QUERIES = 30
"""With fewer, the percentile bootstrap's intervals are too narrow; where all are right, they have no width at all."""

CHECK_SECONDS = 1.0
"""How often the commands that serve look whether they still do."""


def main() -> None:
    """Run the command line; what the user can mend is one sentence on stderr, and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 shows what it cannot as \\u….
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if sys.stderr.isatty():  # somebody waits
        logging.getLogger("faqlab.cache").setLevel(logging.INFO)
    try:
        app()
    except FaqlabError as error:
        print(f"faqlab: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"faqlab {faqlab.__version__}")
        raise typer.Exit


@app.command()
def ask(
    query: Annotated[str, typer.Argument(help="What to ask.", metavar="QUERY")],
    faqs: FaqsOption = None,
    queries: QueriesOption = None,
    top_k: TopKOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put one question to the FAQ; with --queries, say what answers it if it is one of those."""
    from faqlab.text import whole

    query = whole(query)  # an argument that is not UTF-8 could not be printed
    retriever = _retriever(faqs, config, top_k)
    relevant = _label(query, queries, retriever.faqs) if queries else None
    answer = retriever.answer(query)
    milliseconds = {stage: round(ms, 2) for stage, ms in answer.milliseconds.items()}
    if as_json:
        hits = [
            {
                "rank": hit.rank,
                "id": hit.faq.id,
                "question": hit.faq.question,
                "answer": hit.faq.answer,
                "squared_l2": round(hit.squared_l2, 4),
                "score": round(hit.score, 4),
            }
            for hit in answer.hits
        ]
        _print_json(
            {
                "query": query,
                "outcome": answer.outcome,
                "answered": answer.answered,
                "confidence": round(answer.confidence, 4),
                "answers": answer.answers if answer.answered else 0,
                "choices": answer.choices,
                "hits": hits,
                "milliseconds": milliseconds,
                **({} if relevant is None else {"relevant": relevant}),
            }
        )
        return
    for line in _told(answer, retriever.config.scale is not None):
        typer.echo(line)
    if queries:
        typer.echo(_told_label(answer, relevant, retriever.faqs))


@app.command()
def evaluate(
    faqs: FaqsOption = None,
    queries: QueriesOption = None,
    split: SplitOption = "test",
    top_k: TopKOption = None,
    config: ConfigOption = None,
    per_query: Annotated[
        Path | None, typer.Option("--per-query", metavar="FILE", help="Write a CSV, one row a query.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put labelled queries to the FAQ and measure the answers, with 95 % intervals."""
    from faqlab import evaluation
    from faqlab.queries import load_queries

    split = _checked(split)
    retriever = _retriever(faqs, config, top_k)
    path = queries or settings().queries
    table = load_queries(path, retriever.faqs, split)
    has_splits = bool((table["split"] != "").all())
    results = evaluation.evaluate(retriever, table, progress=sys.stderr.isatty() and not as_json)
    if per_query:
        _write_per_query(results, per_query)
    summary = evaluation.summarise(results)
    if top_k:
        summary.loc[f"hit@{top_k}"] = evaluation.hit_curve(results, [top_k]).loc[0, ["value", "low", "high"]]
    kinds, shares = evaluation.by_kind(results), evaluation.outcomes(results)
    at_85 = evaluation.false_answer_rate_at(results, 0.85)
    if as_json:
        report: dict[str, Any] = {
            "split": split if has_splits else None,
            "queries": len(table),
        }
        for name in summary.index.drop("recall@3"):
            report[name] = {key: _number(value) for key, value in summary.loc[name].items()}
        report["false_answer_rate_at_85"] = _number(at_85)
        report["outcomes"] = _numbers(shares)
        report["by_kind"] = _numbers(kinds.drop(columns="queries"))
        for kind, count in kinds["queries"].items():
            report["by_kind"][kind] = {"queries": int(count), **report["by_kind"][kind]}
        _print_json(report)
        return
    which = f"the {split} split" if has_splits else "all"
    typer.echo(
        f"{len(table)} queries, {which} of {path}, against the {len(retriever.faqs)} entries of {retriever.faqs.path}"
    )
    if not has_splits:
        typer.echo("They have no split: if settings were chosen on them too, these figures flatter.")
    elif split == "tune":
        typer.echo("Settings are chosen on this split, so these figures flatter: --split test does not.")
    for group, name in ((table["answerable"], "answerable"), (~table["answerable"], "out of scope")):
        if 0 < group.sum() < FEW_QUERIES:
            typer.echo(f"Only {group.sum()} {name}: the truth may well lie outside the intervals that rest on these.")
    summary.loc["false_answer_rate_at_85", "value"] = at_85
    for heading, rows in {
        "Measures, with 95 % intervals": summary.rename_axis(None),
        "What becomes of the queries, in shares": shares,
        "By kind": kinds.rename_axis(None),
    }.items():
        typer.echo(f"\n{heading}\n{rows.to_string(float_format='{:.3f}'.format, na_rep='–')}")


@app.command()
def bench(
    faqs: FaqsOption = None,
    queries: QueriesOption = None,
    spoken: Annotated[bool, typer.Option("--spoken", help="Say the queries aloud instead: minutes.")] = False,
    calls: Annotated[bool, typer.Option("--calls", help="Ask some of them in calls instead: ten minutes.")] = False,
    number: Annotated[
        int | None, typer.Option("--number", min=1, metavar="N", help="How many, with --calls; 20 if not given.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="With --spoken or --calls, which queries: tune or test; test if not given.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Compare the serving path with the reference (ranks, time of a query, start, memory); or, with --spoken, queries
    typed with the same said aloud and heard, and write what was heard beside the queries' file; or, with --calls, have
    a caller ask some aloud, and measure what was heard, how soon the answer came, and how a pause was borne.
    """
    faqs, queries = faqs or settings().faqs, queries or settings().queries
    if spoken and calls:
        raise FaqlabError("--spoken and --calls are two measurements: name one of them.")
    if number and not calls:
        raise FaqlabError("--number goes with --calls: all others take every query.")
    if split and not (spoken or calls):
        raise FaqlabError("--split goes with --spoken or --calls: the two paths are compared on all queries.")
    split = split or "test"
    if calls:
        _bench_calls(faqs, queries, split, number or 20, config, as_json)
        return
    if spoken:
        _bench_spoken(_retriever(faqs, config, None), queries, split, as_json)
        return
    import pandas as pd

    from faqlab.bench import compare_paths
    from faqlab.retriever import RetrievalConfig

    _check_config(config)
    report = compare_paths(faqs, queries, RetrievalConfig.load(config or settings().retrieval))
    if as_json:
        _print_json(report)
        return
    typer.echo(pd.DataFrame(report).to_string(float_format="{:g}".format))


def _bench_spoken(retriever: Any, path: Path, split: str, as_json: bool) -> None:
    from faqlab.queries import load_queries
    from faqlab.voice import spoken

    queries = load_queries(path, retriever.faqs, _checked(split))
    heard = spoken.hear(queries, progress=not as_json)
    file = path.with_suffix(".spoken.csv")
    _write_csv(heard, file, "put the queries into a folder that can be written to.")
    table = spoken.summary(*spoken.judge(heard, queries, retriever))
    if as_json:
        _print_json(list(_numbers(table).values()))
        return
    typer.echo(table.to_string(index=False, float_format="{:.3f}".format, na_rep="typed"))
    typer.echo(f"\nWhat was heard: {file}")


def _bench_calls(faqs: Path, path: Path, split: str, number: int, config: Path | None, as_json: bool) -> None:
    from faqlab.faqs import FaqSet
    from faqlab.queries import load_queries
    from faqlab.voice import latency

    _check_config(config)
    queries = latency.choose(load_queries(path, FaqSet.load(faqs), _checked(split)), number)
    with latency.own_demo(faqs, config or settings().retrieval, _progress) as demo:
        report = latency.measure(demo, queries, progress=not as_json)
    if as_json:
        _print_json(report)
        return
    typer.echo(latency.table(report))


@app.command()
def train(
    faqs: FaqsOption = None,
    queries: QueriesOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the encoder is written.")] = Path(
        "encoder"
    ),
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, metavar="N", help="Passes over the queries.")] = None,
) -> None:
    """
    Fine-tune the encoder and say what it gained: MiniLM on the FAQs of data/training/train, or the encoder of
    data/retrieval.json on your own two files (their tune split, judged by their test split).
    """
    from dataclasses import replace

    from faqlab import training
    from faqlab.retriever import RetrievalConfig

    if (faqs is None) != (queries is None):
        raise FaqlabError("--faqs and --queries go together: name both of your files, or neither.")
    config = training.TrainingConfig()
    if faqs and queries:
        own, tune, test = training.load_own(faqs, queries)
        trades, judged_by = {faqs.stem: (own, tune)}, {faqs.stem: (own, test)}
        start = RetrievalConfig.load(settings().retrieval).encoder
    else:
        trades, judged_by = (training.load_trades(PROJECT_ROOT / f"data/training/{p}") for p in ("train", "validation"))
        start = training.MINILM
    _progress(f"Training {start} further on {faqs or 'data/training/train'}, to be written to {out}.")
    if epochs:
        config = replace(config, epochs=epochs)
    figures = training.train(trades, out, config, start=start, judged_by=judged_by)
    for name, values in figures.items():
        typer.echo(f"{name}: {training.verdict(values)}")
    typer.echo(f'Written to {out}. To use it, put "encoder": "{out}" into {settings().retrieval.name}, run notebook 3.')


@app.command()
def prepare(
    faqs: FaqsOption = None,
    encoders: Annotated[bool, typer.Option("--encoders", help="Only the encoders, the seed's and yours.")] = False,
) -> None:
    """Build what the first question and the first call would have to wait for."""
    from faqlab.encoder import MINILM, load_encoder
    from faqlab.retriever import RetrievalConfig
    from faqlab.voice.page import build_page
    from faqlab.voice.sfu import build_server

    logging.getLogger("faqlab").setLevel(logging.INFO)
    if encoders:
        for name in (RetrievalConfig.load(settings().retrieval).encoder, MINILM):
            load_encoder(name, settings().cache_dir)
        return
    _retriever(faqs, None, None)
    build_page(_progress)
    if settings().livekit_url is None:
        build_server(_progress)
    _progress("Everything is built.")


@app.command()
def serve(
    faqs: FaqsOption = None,
    config: ConfigOption = None,
    port: PortOption = None,
    records: RecordsOption = None,
) -> None:
    """Let people talk to the FAQ: LiveKit server, page and agent, until Ctrl-C."""
    _check_config(config)
    _progress("Starting.")
    from faqlab.voice.demo import LiveDemo

    demo = LiveDemo(faqs=faqs, config=config, port=port, records=records, progress=_progress)
    with _until_ctrl_c(demo):
        typer.echo(f"Join at {demo.listen()} (Ctrl-C ends it)")
        demo.wait_until_warm()


@app.command()
def agent(faqs: FaqsOption = None, config: ConfigOption = None, records: RecordsOption = None) -> None:
    """Answer the calls of the LiveKit server that LIVEKIT_URL names; run as many as the calls need."""
    from concurrent.futures import Future

    _check_config(config)
    livekit = _named_livekit()
    _progress("Starting.")
    from faqlab.voice.agent import Assistant
    from faqlab.voice.calls import CallLog
    from faqlab.voice.stack import choose_stack
    from faqlab.voice.worker import Worker

    stack = choose_stack(settings())
    _progress(f"Loading the models. Voice: {stack.name}.")
    loaded: Future[Assistant] = Future()
    calls = CallLog(records or settings().records)
    loaded.set_result(Assistant.load(stack, calls, faqs or settings().faqs, config or settings().retrieval))
    worker = Worker(livekit, loaded, settings().agent_name)
    with _until_ctrl_c(worker):
        worker.start()
        _progress(f"Ready: answering calls at {livekit.url} as {settings().agent_name} (Ctrl-C ends it).")


@app.command()
def tokens(port: PortOption = None) -> None:
    """Serve the page and its tokens alone, for the LiveKit server that LIVEKIT_URL names."""
    from faqlab.voice.demo import token_options
    from faqlab.voice.page import build_page
    from faqlab.voice.tokens import TokenServer

    livekit = _named_livekit()
    build_page(_progress)
    server = TokenServer(livekit, token_options(settings()), port or settings().port)
    with _until_ctrl_c(server):
        typer.echo(f"Join at {server.start()} (Ctrl-C ends it)")


def _named_livekit() -> Any:
    from faqlab.voice.sfu import livekit_from_settings

    if livekit := livekit_from_settings(settings()):
        return livekit
    raise FaqlabError("LIVEKIT_URL is not set: set it with its key and secret, or use `faqlab serve`.")


@contextmanager
def _until_ctrl_c(server: Any) -> Iterator[None]:
    """
    Run the block, wait for Ctrl-C or SIGTERM, which may come in the block already, and stop *server*.

    From the block on, SIGINT is heard also where a script started the command in the background, for which shells turn
    it off: who then sends it to this process means it.

    Raises:
        Exit: it has ended by itself: 1, having said so.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        yield
        while not (problem := server.problem):
            time.sleep(CHECK_SECONDS)
        _progress(f"faqlab: {problem}")
        raise typer.Exit(1)
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one would cut the stop short
            signal.signal(number, signal.SIG_IGN)
        server.stop()


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _check_config(config: Path | None) -> None:
    if config and not exists(config):
        raise FaqlabError(f"{config}: no such file: leave --config out for {settings().retrieval}.")


def _retriever(faqs: Path | None, config: Path | None, top_k: int | None) -> Any:
    from dataclasses import replace

    from faqlab.faqs import FaqSet
    from faqlab.retriever import RetrievalConfig, Retriever

    _check_config(config)
    chosen = RetrievalConfig.load(config or settings().retrieval)
    if top_k is not None:
        chosen = replace(chosen, top_k=top_k)
    return Retriever.build(FaqSet.load(faqs or settings().faqs), chosen, progress=sys.stderr.isatty())


def _label(query: str, path: Path, faqs: Any) -> tuple[str, ...] | None:
    """Return the ids that answer *query* by the file at *path*, None if it is not there, whole or but for its marks."""
    from faqlab.queries import load_queries
    from faqlab.text import plain

    table = load_queries(path, faqs)
    for same in (str, plain):
        found = table.loc[table["query"].map(same) == same(query), "relevant"]
        if same(query) and len(found):  # what is all marks is like nothing but itself
            return found.iloc[0]
    return None


def _told(answer: Any, calibrated: bool) -> Iterator[str]:
    """Tell a person what becomes of the question, and what was found."""
    from faqlab.decision import Outcome
    from faqlab.dialogue import ask_back
    from faqlab.text import has_words

    if calibrated and not has_words(answer.query):
        yield "I don't know: that holds no word. Ask something in words."
        return
    match answer.outcome:
        case Outcome.ANSWER:
            heading, first = "Answered by:", answer.answers
        case Outcome.ASK_BACK:
            heading, first = f"{ask_back(answer.choices)}\n\nFound:", len(answer.hits)
        case Outcome.DECLINE:
            heading, first = "I don't know: the FAQ does not seem to answer that. The likeliest:", len(answer.hits)
    yield f"{heading}\n"
    score = "probability" if calibrated else "score"
    for hit in answer.hits:
        if hit.rank == first + 1:
            yield "Also found:\n"
        yield f"{hit.rank}. {hit.faq.question}   ({score} {hit.score:.2f}, squared L2 {hit.squared_l2:.2f})"
        yield f"   {hit.faq.answer}\n"


def _told_label(answer: Any, relevant: tuple[str, ...] | None, faqs: Any) -> str:
    """Hold *answer* against the label of its query: the ids that are right, or None where it has no label."""
    if relevant is None:
        return "No label: the file of queries does not have this one."
    if not relevant:
        return "By its label nothing in the FAQ answers it."
    places = {hit.faq.id: f"number {hit.rank}" for hit in answer.hits}
    right = [f"“{faqs[faq_id].question}” ({places.get(faq_id, 'not among these')})" for faq_id in relevant]
    return f"Right by its label: {', '.join(right)}."


def _checked(split: str) -> str:
    from faqlab.queries import SPLITS

    if split not in SPLITS:
        raise FaqlabError(f"--split {split}: expected {' or '.join(SPLITS)}.")
    return split


def _write_per_query(results: Any, path: Path) -> None:
    columns = ["id", "kind", "ranked", "squared_l2", "confidence", "answered", "outcome", "first", "query", "relevant"]
    table = results[columns].copy()
    table["ranked"] = [" ".join(ids[:10]) for ids in table["ranked"]]
    table["relevant"] = table["relevant"].map(" ".join)
    _write_csv(table, path, "name another file by --per-query.")


def _write_csv(table: Any, path: Path, remedy: str) -> None:
    try:
        table.round(6).to_csv(path, index=False)
    except OSError as error:
        raise FaqlabError(f"{path}: cannot be written ({error.strerror or error}): {remedy}") from None


def _number(value: Any) -> float | None:
    """Return a JSON number: NaN, which JSON does not have, as null."""
    return None if value != value else round(float(value), 4)


def _numbers(table: Any) -> dict[str, dict[str, float | None]]:
    return {str(name): {k: _number(v) for k, v in row.items()} for name, row in table.iterrows()}


def _print_json(data: Any) -> None:
    ascii_only = codecs.lookup(sys.stdout.encoding).name != "utf-8"
    typer.echo(json.dumps(data, indent=2, ensure_ascii=ascii_only))


if __name__ == "__main__":
    main()
