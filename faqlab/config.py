"""The retrieval configuration: notebook 3 tunes it; the commands and the live agent use it."""

import json
import logging
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from faqlab.encoder import MINILM, WEIGHTS, find_weights
from faqlab.errors import FaqlabError, first_problem
from faqlab.settings import PROJECT_ROOT, RETRIEVAL, exists, settings
from faqlab.text import read_text, write_text

log = logging.getLogger(__name__)

WITHOUT_SECOND = PROJECT_ROOT / "data/retrieval.minilm.json"
"""The project's configuration tuned without a second encoder, for where that isn't set up."""

View = Literal["question", "phrasings", "question_answer", "answer"]


class RetrievalConfig(BaseModel):
    """Everything that decides how a question is answered. The defaults are the baseline, which always answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    encoder: str = Field(MINILM, min_length=1)  # a name or folder, as in `faqlab.encoder.load_encoder`
    second_encoder: str = ""  # likewise: then a similarity is a weighted mean of both
    views: tuple[View, ...] = Field(("question",), min_length=1)  # which texts of each entry are embedded
    top_k: int = Field(3, ge=1)  # how many entries a look-up returns
    ngram_weight: float = Field(0.0, ge=0, le=10)  # of the n-gram overlap in the ranking; the similarity has weight 1
    scale: float | None = Field(None, ge=1, le=1000)  # inverse temperature of P(entry is right): see `faqlab.decision`
    scope_scale: float = Field(20.0, ge=1, le=1000)  # inverse temperature of P(the FAQ has the answer)
    topic_weight: float = Field(0.0, ge=-2, le=10)  # of the mean similarity to all entries: is it the FAQ's topic?
    null_cosine: float = Field(0.5, ge=-1, le=1)  # the similarity for which that is 0.5
    decline_below: float = Field(0.0, ge=0, le=1)  # decline if P(the FAQ has the answer) is lower
    scope_from: float = Field(0.0, ge=0, le=1)  # otherwise answer if P(the FAQ has the answer) is at least this …
    answer_from: float = Field(0.0, ge=0, le=1)  # … and P(the first entry is right) at least this; else clarify

    @model_validator(mode="after")
    def _views_differ_and_thresholds_have_a_scale(self) -> Self:
        if len(set(self.views)) < len(self.views):
            raise ValueError("views: one is named twice; name each once")
        if self.scale is None and (self.decline_below or self.scope_from or self.answer_from):
            raise ValueError("decline_below, scope_from and answer_from need a scale: add one, or leave them out")
        return self

    @classmethod
    def load(cls, path: str | Path | None = None) -> Self:
        """
        Read a configuration, by default that of the settings; FaqlabError if something in it is wrong.

        If that of the settings is missing, it's the project's own, with a warning; if that is missing, the baseline.
        """
        path, remedy = Path(path or settings().retrieval), "fix it, or name another configuration"
        if path == settings().retrieval and not exists(path):
            if path != RETRIEVAL:
                log.warning("%s: no such file, so %s is used; notebook 3 writes this file.", path, RETRIEVAL.name)
            path = RETRIEVAL
            if not exists(path):
                return cls()
        try:
            config = cls.model_validate_json(read_text(path, remedy))
            second = config.second_encoder and find_weights(config.second_encoder)
            if second and not exists(second.folder / WEIGHTS) and path != WITHOUT_SECOND:
                missing = "%s isn't set up (`make build` fetches it), so %s is used, not %s."
                log.warning(missing, second.folder.name, WITHOUT_SECOND, path)
                return cls.load(WITHOUT_SECOND)
            return config
        except ValidationError as error:
            known = f"known settings: {', '.join(cls.model_fields)}"
            raise FaqlabError(f"{path}: {first_problem(error)} ({known}); {remedy}.") from None

    def with_changes(self, **changes: Any) -> Self:
        """Return a copy with some settings changed; FaqlabError if a value is out of range."""
        try:
            return type(self)(**{**self.model_dump(), **changes})
        except ValidationError as error:
            raise FaqlabError(f"{first_problem(error)}.") from None

    def save(self, path: str | Path) -> None:
        """Write the configuration as JSON, floats rounded to three digits so that a rerun writes the same file."""
        data = {k: round(v, 3) if isinstance(v, float) else v for k, v in self.model_dump(mode="json").items()}
        write_text(Path(path), json.dumps(data, indent=2) + "\n", "set FAQLAB_RETRIEVAL to another file")


BASELINE = RetrievalConfig()
"""What everything is compared with: MiniLM on the questions only, the best three entries, always an answer."""
