"""
Measure retrieval on questions that people wrote: public sets, read from clones of the repositories that hold them.

The project has none of these texts. `README.md` says what to clone, and what the columns of the table mean.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from benchmarks import command
from benchmarks.bm25 import evaluate_bm25
from faqlab import evaluation
from faqlab.config import BASELINE, RetrievalConfig
from faqlab.encoder import Encoder, load_encoder
from faqlab.errors import FaqlabError
from faqlab.evaluation import holm
from faqlab.faqs import Faq, FaqSet
from faqlab.queries import load_domains, load_queries
from faqlab.retriever import Retriever
from faqlab.settings import PROJECT_ROOT, settings
from faqlab.text import is_blank, read_text

Labelled = tuple[FaqSet, pd.DataFrame]

PLATFORMS = {"curekart": 0.582, "powerplay11": 0.317, "sofmattress": 0.553}
"""`right_at_10` of the best of Dialogflow, LUIS, Haptik and BERT, from the predictions that HINT3 published in 2020."""

CLONE = "benchmarks/README.md says what to clone"
INTERVAL = ["hit@1", "low", "high"]
QUESTION_ONLY = ", question only"


def main(
    folders: Annotated[list[Path] | None, command.typer.Argument(metavar="FOLDER…", help="Clones.")] = None,
    written: Annotated[bool, command.typer.Option("--written", help="Measure the project's own sets, too.")] = False,
    config: command.ConfigOption = None,
    output: Annotated[Path | None, command.typer.Option("-o", metavar="FILE", help="Write the table as CSV.")] = None,
    as_json: command.JsonOption = False,
) -> None:
    """Measure BM25, the baseline and the steps from it to the configuration on public sets of people's questions."""
    sets = {name: labelled for folder in folders or () for name, labelled in read_clone(folder).items()}
    if written:
        sets |= read_written()
    if not sets:
        raise FaqlabError(f"Nothing to measure: name the folders of clones, or use --written; {CLONE}.")
    table = measure(sets, command.read_config(config))
    if output:
        try:
            table.to_csv(output, index=False, float_format="%.4f")
        except OSError as error:
            raise FaqlabError(f"{output}: can't be written ({error.strerror}); name another file with -o.") from None
    if as_json:
        command.print_json(table.to_dict("records"))
    else:
        command.typer.echo(format_table(table))


def read_clone(folder: Path) -> dict[str, Labelled]:
    """Return the sets in *folder* by name; FaqlabError if it has none, or if a file of one is missing."""
    found = [read(folder / place) for place, read in READERS.items() if (folder / place).exists()]
    if not found:
        raise FaqlabError(f"{folder}: no clone with a public set; {CLONE}.")
    return {name: labelled for sets in found for name, labelled in sets.items()}


def read_hint3(folder: Path) -> dict[str, Labelled]:
    """Return what users wrote to three live chatbots. The entries are the bots' intents."""
    sets = {}
    for path in sorted((folder / "train").glob("*_train.csv")):
        bot = path.stem.removesuffix("_train")
        files = [_read(folder / part / f"{bot}_{part}.csv") for part in ("train", "test")]
        tables = [pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False) for text in files]
        train, test = (zip(table["sentence"], table["label"], strict=True) for table in tables)
        sets[bot] = _entries(train), _queries((text, {label} - {"NO_NODES_DETECTED"}) for text, label in test)
    return sets


def read_covid_faq(path: Path) -> dict[str, Labelled]:
    """Return questions about Covid-19 from Twitter and searches. Each is paired with the answers that are right."""
    pairs = json.loads(_read(path))
    faqs = [row for row in pairs if row["query_type"] == "faq"]
    entries = tuple(Faq(str(n), row["question"], row["answer"]) for n, row in enumerate(faqs))
    queries: dict[str, set[str]] = {}
    for row in pairs:
        if row["query_type"] == "user_query":
            right = {faq.id for faq in entries if faq.answer == row["answer"].strip()}
            queries.setdefault(row["question"].strip(), set()).update(right)
    return {"CovidFAQ": (FaqSet(entries), _queries(queries.items()))}


def read_stack_faq(path: Path) -> dict[str, Labelled]:
    """Return questions about web applications, each rephrased by several people."""
    pairs = list(ElementTree.fromstring(_read(path)).iter("qapair"))
    entries = [Faq(str(n), of.findtext("question", ""), of.findtext("answer", "")) for n, of in enumerate(pairs)]
    rephrased = [(each.text or "", str(n)) for n, of in enumerate(pairs) for each in of.iter("rephr")]
    return {"StackFAQ": (FaqSet(tuple(entries)), _queries((text, {n}) for text, n in rephrased if text.strip() != "*"))}


def read_banking(folder: Path) -> dict[str, Labelled]:
    """Return what customers asked a bank; out of scope are some of its intents (near) and other businesses (far)."""

    def lines(*files: str) -> Iterable[tuple[str, ...]]:
        return zip(*(_read(folder / file).split("\n") for file in files), strict=True)

    queries = [(text, {intent}) for text, intent in lines("test/seq.in", "test/label")]
    queries += [(text, set()) for part in ("id-oos", "ood-oos") for (text,) in lines(f"{part}/test/seq.in")]
    return {"BANKING77-OOS": (_entries(lines("train/seq.in", "train/label")), _queries(queries))}


READERS: dict[str, Callable[[Path], dict[str, Labelled]]] = {
    "dataset/v2": read_hint3,
    "data/CovidFAQ/query_answer_pairs.json": read_covid_faq,
    "data/StackFAQ/stackExchange-FAQ.xml": read_stack_faq,
    "Datasets/BANKING77-OOS": read_banking,
}
"""What reads a set, by its place in the clone."""


def read_written() -> dict[str, Labelled]:
    """Return the project's own sets: the shop's `test` split and the FAQs that the encoders weren't trained on."""
    faqs = FaqSet.load(PROJECT_ROOT / "data/ecommerce.json")
    sets = {"shop (test)": (faqs, load_queries(PROJECT_ROOT / "data/queries.csv", faqs, "test"))}
    for part in ("validation", "final"):
        domains = load_domains(PROJECT_ROOT / "data/training" / part)
        sets |= {f"{name} ({part})": domain for name, domain in domains.items()}
    return sets


def _read(path: Path) -> str:
    return read_text(path, f"clone the whole repository; {CLONE}")


def _entries(labelled: Iterable[tuple[str, ...]]) -> FaqSet:
    """Return an entry for each intent: its first phrasing is the question and, as these sets have none, the answer."""
    phrasings: dict[str, list[str]] = {}
    for text, intent in labelled:
        if not is_blank(text):
            phrasings.setdefault(intent, []).append(text)
    return FaqSet(tuple(Faq(n, first, first, alternatives=tuple(more)) for n, (first, *more) in phrasings.items()))


def _queries(rows: Iterable[tuple[str, Iterable[str]]]) -> pd.DataFrame:
    """Return texts and the ids of their right entries as `load_queries` does, without the blank texts."""
    kept = [(f"q{n}", text.strip(), tuple(right)) for n, (text, right) in enumerate(rows) if not is_blank(text)]
    table = pd.DataFrame(kept, columns=["id", "query", "relevant"])
    return table.assign(answerable=table["relevant"].map(bool))


def measure(sets: Mapping[str, Labelled], config: RetrievalConfig) -> pd.DataFrame:
    """Return a row for each set and system, with the columns that `README.md` describes."""
    names = {BASELINE.encoder, config.encoder}
    encoders = {name: load_encoder(name, settings().cache_dir) for name in names}
    rows: list[dict[str, Any]] = []
    for name, (faqs, queries) in tqdm(sets.items(), desc="Measuring", unit="set"):
        results = evaluate_systems(faqs, queries, config, encoders)
        for system, of in results.items():
            against = "baseline" + QUESTION_ONLY if system == "tuned" + QUESTION_ONLY else "baseline"
            test = evaluation.compare(of, results[against]) if system != against else {}
            tested = {column: test.get(column, np.nan) for column in ("difference", "p")}
            rows.append({"set": name, "system": system, **figures(of), **tested})
        if name in PLATFORMS:
            counts = {column: rows[-1][column] for column in ("set", "answerable", "out_of_scope")}
            rows.append({**counts, "system": "best platform of 2020", "right_at_10": PLATFORMS[name]})
    table = pd.DataFrame(rows)
    return table.assign(corrected_p=table.groupby("system")["p"].transform(holm))


def evaluate_systems(
    faqs: FaqSet, queries: pd.DataFrame, config: RetrievalConfig, encoders: Mapping[str, Encoder]
) -> dict[str, pd.DataFrame]:
    """Return what `evaluate` returns for BM25, the steps of notebook 4, and two of them without alternatives."""
    baseline = BASELINE.with_changes(views=("phrasings",))
    if all(faq.answer == faq.question for faq in faqs):  # without answers, only the phrasings can be embedded
        config = config.with_changes(views=baseline.views)
    views = BASELINE.with_changes(views=config.views)
    encoder = views.with_changes(encoder=config.encoder)
    both = encoder.with_changes(second_encoder=config.second_encoder)
    systems = {"baseline": baseline, "views": views, "encoder": encoder, "both encoders": both, "tuned": config}

    def evaluate(faqs: FaqSet, system: RetrievalConfig) -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:  # these indexes aren't needed again
            retriever = Retriever.build(faqs, system, encoder=encoders[system.encoder], cache_dir=Path(folder))
        return evaluation.evaluate(retriever, queries)

    results = {"BM25": evaluate_bm25(faqs, queries)} | {name: evaluate(faqs, of) for name, of in systems.items()}
    if any(faq.alternatives for faq in faqs):
        short = FaqSet(tuple(replace(faq, alternatives=()) for faq in faqs))
        results |= {name + QUESTION_ONLY: evaluate(short, systems[name]) for name in ("baseline", "tuned")}
    return results


def figures(results: pd.DataFrame) -> dict[str, float]:
    """Return the measures of one system on one set."""
    inside, outside = results[results["answerable"]], results[~results["answerable"]]
    measures, shares = evaluation.summarise(results), evaluation.outcomes(results).loc["answerable"]
    right = inside["confidence"].where(inside["hit@1"] == 1, -np.inf)
    return {
        "answerable": len(inside),
        "out_of_scope": len(outside),
        **dict(zip(INTERVAL, measures.loc["hit@1"], strict=True)),
        **measures["value"][["hit@3", "auroc", "right_at_once", "wrong_at_once"]],
        "clarified": shares["clarify"],
        "declined": shares["decline"],
        "false_answer_rate": measures["value"]["false_answer_rate"],
        "right_at_10": right_at_10(right.to_numpy(), outside["confidence"].to_numpy()),
    }


def right_at_10(right: np.ndarray, outside: np.ndarray) -> float:
    """
    Return the share of *right* above the lowest threshold that at most 10% of *outside* exceed; NaN if one is empty.

    *outside* is the confidence of the out-of-scope queries, *right* that of the answerable ones, or −∞ where the first
    entry is wrong.
    """
    return float(np.mean(right > np.sort(outside)[-1 - len(outside) // 10])) if right.size and outside.size else np.nan


def format_table(table: pd.DataFrame) -> str:
    """Return *table* as text, with each set named once and the interval of hit@1 beside it."""
    shown = table.drop(columns=INTERVAL[1:])
    shown["set"] = table["set"].mask(table["set"].duplicated(), "")
    intervals = table[INTERVAL].to_numpy()
    shown["hit@1"] = ["" if np.isnan(hit) else f"{hit:.3f} [{low:.2f}, {high:.2f}]" for hit, low, high in intervals]
    for column in ("p", "corrected_p"):
        shown[column] = ["" if np.isnan(p) else f"{p:.3f}" if p >= 0.001 else "<0.001" for p in table[column]]
    return shown.to_string(index=False, float_format="{:.3f}".format, na_rep="")


if __name__ == "__main__":
    command.run(main)
