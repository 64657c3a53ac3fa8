"""
Fine-tune an encoder on labelled queries of many FAQs, as a small adapter.

Each query has a softmax over the entries of its FAQ and a class "none", whose cosine is the same for all queries:
logit_i = scale · cos(query, entry_i), logit_none = scale · null_cosine. The other entries of the FAQ are the negatives,
hard ones among them; for an out-of-scope query "none" is right. The loss is the negative log of the probability of the
right entries. Only LoRA matrices (Hu et al., 2021) beside the transformer's linear layers are trained; they are merged
into the weights when the ONNX model is exported, so its size and speed don't change.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import typer
from tqdm.auto import tqdm

from benchmarks.command import run
from faqlab.cache import sha256, write_aside
from faqlab.config import BASELINE, RetrievalConfig
from faqlab.encoder import (
    ADAPTER_FILES,
    BGE,
    MINILM,
    SERVED,
    ReferenceEncoder,
    find_weights,
)
from faqlab.errors import FaqlabError
from faqlab.evaluation import compare, evaluate, summarise
from faqlab.faqs import FaqSet
from faqlab.index import VIEWS
from faqlab.queries import load_domains, load_queries
from faqlab.retriever import Retriever
from faqlab.settings import PROJECT_ROOT, settings

if TYPE_CHECKING:
    import torch

Domains = Mapping[str, tuple[FaqSet, pd.DataFrame]]
"""FAQs with their labelled queries, by name."""

TRAIN_VIEWS = ("question", "question_answer", "answer")
"""The views of an entry that training embeds; a retriever with the tuned encoder should use the same."""

FEWEST_QUERIES = 50
"""With fewer answerable queries, an encoder learns little more than their words."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train."""

    epochs: int = 2
    batch_size: int = 112  # queries of one FAQ in a step
    learning_rate: float = 6e-4  # the peak of one cycle, after a tenth of the steps
    rank: int = 16  # of the LoRA matrices; their scale is twice the rank
    scale: float = 20.0  # initial scale of the logits, unless an adapter is trained further: it has its own
    none: float = 0.5  # initial cosine of "none"; likewise
    strength: float = 0.8  # of the adapter when it's merged, against forgetting (WiSE-FT, arXiv 2109.01903)
    seed: int = 0


RECIPES = {
    MINILM: TrainingConfig(),
    BGE: TrainingConfig(batch_size=224, learning_rate=8e-4, scale=30.0, none=0.7),  # its cosines are higher
}


def main(
    faqs: Annotated[Path | None, typer.Option(metavar="PATH", help="Your FAQ, a JSON file.")] = None,
    queries: Annotated[Path | None, typer.Option(metavar="PATH", help="Its labelled queries, a CSV file.")] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the encoder.")] = Path("encoder"),
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Passes over the queries.")] = None,
    base: Annotated[str, typer.Option(metavar="NAME", help=f"{' or '.join(SERVED)}.")] = MINILM,
) -> None:
    """
    Without --faqs and --queries, fine-tune --base on data/training/train. With both, fine-tune the configured encoder
    on your tune split. Prints the gain on queries that weren't trained on.
    """
    if (faqs is None) != (queries is None):
        raise FaqlabError("--faqs and --queries go together; name both of your files, or neither.")
    if faqs and base != MINILM:
        raise FaqlabError("--base goes without --faqs: your queries train the configured encoder further.")
    if faqs and queries:
        own, tune, test = load_own(faqs, queries)
        domains, judged_by = {faqs.stem: (own, tune)}, {faqs.stem: (own, test)}
        start = RetrievalConfig.load(settings().retrieval).encoder
    else:
        domains, judged_by = (load_domains(PROJECT_ROOT / "data/training" / part) for part in ("train", "validation"))
        start = base
    typer.echo(f"Training {start} on {faqs or 'data/training/train'}; the result goes to {out}.", err=True)
    config = RECIPES.get(start, TrainingConfig())
    config = replace(config, epochs=epochs) if epochs else config
    for name, figures in train(domains, out, config, start=start, judged_by=judged_by).items():
        typer.echo(f"{name}: {verdict(figures)}")
    typer.echo(
        f'Written to {out}. To use it, set "{"second_encoder" if start == BGE else "encoder"}": "{out}" in '
        f"{settings().retrieval.name}, then run notebook 3."
    )


def load_own(faqs_path: Path, queries_path: Path) -> tuple[FaqSet, pd.DataFrame, pd.DataFrame]:
    """
    Return an FAQ, the queries to train on and those to test on: its splits or, without any, 2/3 and 1/3 of each kind.

    Raises:
        FaqlabError: The files can't be used, or there are too few queries to train or test on.
    """
    faqs = FaqSet.load(faqs_path)
    queries = load_queries(queries_path, faqs)
    if (queries["split"] == "").any():
        queries = queries.sample(frac=1, random_state=0)
        queries["split"] = np.where(queries.groupby("kind").cumcount() % 3 == 2, "test", "tune")
    tune, test = (queries[queries["split"] == split].sort_index().reset_index(drop=True) for split in ("tune", "test"))
    if tune["answerable"].sum() < FEWEST_QUERIES:
        raise FaqlabError(
            f"{queries_path}: {tune['answerable'].sum()} answerable queries are too few to train on; "
            f"write {FEWEST_QUERIES} or more, about three for each entry."
        )
    if not test["answerable"].any():
        raise FaqlabError(
            f"{queries_path}: there is no answerable query to test on; give some the split 'test', "
            "or leave the column out, and a third of the queries is set aside."
        )
    return faqs, tune, test


def train(
    domains: Domains,
    out: Path,
    config: TrainingConfig = TrainingConfig(),
    *,
    start: str = MINILM,
    judged_by: Domains | None = None,
) -> dict[str, dict[str, float]]:
    """
    Train an adapter and write it to *out*: `adapter_config.json`, `adapter_model.safetensors`, `manifest.json`.

    Args:
        domains: FAQs with their labelled queries, by name.
        out: A folder; an adapter in it is replaced.
        config: How to train.
        start: The encoder to begin with: a name in `encoder.SERVED`, or the folder of an adapter.
        judged_by: FAQs with queries to test on.

    Returns:
        For each of *judged_by* (also kept in the manifest): `hit@1`, `hit@3` and `auroc`, and those of *start* as
        `… before`; the `difference` in hit@1 with its 95% interval `low` to `high`, and the `p` of the paired test.

    Raises:
        FaqlabError: *out* can't be written or is the folder of *start*, or *start* is damaged or can't be trained.
    """
    import torch

    weights = find_weights(start)
    if weights is None:
        raise FaqlabError(f"{start}: only {' and '.join(SERVED)} and adapters to them can be trained.")
    base = next(name for name, (folder, _) in SERVED.items() if folder == weights.folder)
    _check_out(out, weights.adapter)
    learned = {} if weights.adapter is None else json.loads((weights.adapter / "manifest.json").read_bytes())["learned"]
    config = replace(config, **learned)
    torch.manual_seed(config.seed)
    model = _Trainee(config, base, weights.adapter)
    _fit(model, domains, config)
    manifest = {
        "base": {"name": base, "sha256": weights.sha256},
        "start": weights.fingerprint,
        "data": {name: sha256((f.sha256 + q.to_csv(index=False)).encode()) for name, (f, q) in domains.items()},
        "training": asdict(config) | {"views": TRAIN_VIEWS},
        "learned": {"scale": round(model.log_scale.exp().item(), 2), "none": round(model.none.item(), 3)},
        "sha256": model.save(out),
    }
    _write_manifest(out, manifest)  # without it, the new encoder couldn't be loaded for the test
    figures = _judge(judged_by, start, str(out.resolve())) if judged_by else {}
    _write_manifest(out, manifest | {"figures": figures})
    return figures


def verdict(figures: Mapping[str, float]) -> str:
    """Return what the figures of `train` for one FAQ mean, as a sentence."""
    gain = f"hit@1 {figures['hit@1 before']:.3f} → {figures['hit@1']:.3f}"
    interval = f"{figures['difference']:+.3f}, 95% interval {figures['low']:+.3f} to {figures['high']:+.3f}"
    if not figures["p"] < 0.05 or figures["low"] <= 0 <= figures["high"]:
        meaning = "could be chance, with this number of queries"
    else:
        meaning = "worth it" if figures["difference"] > 0 else "worse; keep the previous encoder"
    return f"{gain} ({interval}, p = {figures['p']:.4f}): {meaning}"


def _check_out(out: Path, adapter: Path | None) -> None:
    if adapter and out.resolve() == adapter.resolve():
        raise FaqlabError(
            f"{out}: the encoder that training starts from is here and would be overwritten; use another --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise FaqlabError(f"{out}: can't be written ({error.strerror}); use another --out.") from None


def _fit(model: _Trainee, domains: Domains, config: TrainingConfig) -> None:
    import torch

    rng = np.random.default_rng(config.seed)
    batches = [
        (name, rows)
        for name, (_, queries) in domains.items()
        for rows in np.array_split(np.arange(len(queries)), math.ceil(len(queries) / config.batch_size))
    ]
    steps = config.epochs * len(batches)
    rates = [config.learning_rate, 1e-2]
    groups = [{"params": model.weights, "lr": rates[0]}, {"params": [model.log_scale, model.none], "lr": rates[1]}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    # With total_steps=1 the rate would be 0, and 10 steps with pct_start=0.1 would divide by zero.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=max(steps, 2), pct_start=0.1 + 1e-9)
    with tqdm(total=steps, desc="Training", unit="step") as bar:
        for _ in range(config.epochs):
            orders = {name: rng.permutation(len(queries)) for name, (_, queries) in domains.items()}
            for i in rng.permutation(len(batches)):
                name, rows = batches[i]
                faqs, queries = domains[name]
                loss = model.loss(faqs, queries.iloc[orders[name][rows]])
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.weights, 1.0)
                optimiser.step()
                schedule.step()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
                bar.update()


class _Trainee:
    """An encoder with a trainable adapter, the scale of the logits and the cosine of "none"."""

    def __init__(self, config: TrainingConfig, base: str, adapter: Path | None) -> None:
        import torch
        from peft import LoraConfig, PeftModel, get_peft_model

        sentence_transformer, self.base = ReferenceEncoder(base).model, base
        self.pooling = sentence_transformer[1]
        self.tokenizer, self.max_tokens = sentence_transformer.tokenizer, sentence_transformer.max_seq_length
        transformer: Any = sentence_transformer[0].auto_model
        linear = [name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)]
        linear = [name for name in linear if name.startswith("encoder.")]
        if adapter:
            self.transformer: Any = PeftModel.from_pretrained(transformer, str(adapter), is_trainable=True)
        else:
            lora = LoraConfig(r=config.rank, lora_alpha=2 * config.rank, target_modules=linear)
            self.transformer = get_peft_model(transformer, lora)
        self.strength = 1.0 if adapter else config.strength
        self.transformer.eval()  # no dropout: many domains prevent overfitting better than noise does
        transformer.set_attn_implementation("eager")  # three times as fast in the backward pass, in bfloat16
        self.in_bfloat16 = bool(torch.cpu.get_capabilities().get("amx_bf16"))  # slower on other processors
        self.weights = [p for p in self.transformer.parameters() if p.requires_grad]
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(config.scale)))
        self.none = torch.nn.Parameter(torch.tensor(config.none))

    def loss(self, faqs: FaqSet, queries: pd.DataFrame) -> torch.Tensor:
        import torch

        views = [self._embed([VIEWS[view](faq)[0] for faq in faqs]) for view in TRAIN_VIEWS]
        entries = torch.nn.functional.normalize(torch.stack(views).mean(0), dim=1)
        cosines = self._embed(queries["query"].tolist()) @ entries.T
        logits = self.log_scale.exp() * torch.cat([cosines, self.none.expand(len(queries), 1)], dim=1)
        right = torch.zeros_like(logits, dtype=torch.bool)
        for row, relevant in enumerate(queries["relevant"]):
            right[row, [faqs.position[faq_id] for faq_id in relevant] or [len(faqs)]] = True
        of_right = torch.log_softmax(logits, dim=1).masked_fill(~right, -torch.inf)
        return -torch.logsumexp(of_right, dim=1).mean()

    def _embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit vectors that carry gradients, shape (texts, 384)."""
        import torch

        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # less padding, half the time
        vectors = []
        for start in range(0, len(texts), 96):
            batch = [texts[i] for i in by_length[start : start + 96]]
            tokens = self.tokenizer(
                batch, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
                hidden = self.transformer(**tokens).last_hidden_state.float()
            features = {"token_embeddings": hidden, "attention_mask": tokens["attention_mask"]}
            vectors.append(self.pooling(features)["sentence_embedding"])
        return torch.nn.functional.normalize(torch.cat(vectors)[np.argsort(by_length)], dim=1)

    def save(self, out: Path) -> str:
        """Write the adapter in peft's format, its matrices in half precision; return the SHA-256 of the weights."""
        from safetensors.torch import load_file, save_file

        config = self.transformer.peft_config["default"]
        config.lora_alpha *= self.strength
        config.base_model_name_or_path = self.base
        config.target_modules = sorted(config.target_modules)  # a set's order differs from run to run
        with tempfile.TemporaryDirectory() as folder:
            self.transformer.save_pretrained(folder, save_embedding_layers=False)
            weights = Path(folder, ADAPTER_FILES[1])
            save_file({k: v.half().contiguous() for k, v in load_file(weights).items()}, weights, {"format": "pt"})
            for name in ADAPTER_FILES:
                write_aside(out / name, Path(folder, name).read_bytes())
        return sha256((out / ADAPTER_FILES[1]).read_bytes())


def _write_manifest(out: Path, manifest: Mapping[str, Any]) -> None:
    write_aside(out / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def _judge(domains: Domains, before: str, after: str) -> dict[str, dict[str, float]]:
    """Return the figures that `train` returns, for the encoders *before* and *after*."""
    figures, encoders = {}, [ReferenceEncoder(before), ReferenceEncoder(after)]
    config = BASELINE.with_changes(views=TRAIN_VIEWS)
    for name, (faqs, queries) in domains.items():
        with tempfile.TemporaryDirectory() as folder:
            old, new = (
                evaluate(Retriever.build(faqs, config, encoder=encoder, cache_dir=Path(folder)), queries)
                for encoder in encoders
            )
        values = {measure: summarise(new)["value"][measure] for measure in ("hit@1", "hit@3", "auroc")}
        values |= {f"{measure} before": summarise(old)["value"][measure] for measure in values}
        figures[name] = {key: round(float(value), 4) for key, value in (values | compare(new, old)).items()}
    return figures


if __name__ == "__main__":
    run(main)
