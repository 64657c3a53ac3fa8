"""
Every look-up that a caller caused, as a record.

What callers say is personal. The records stay in this process's memory, and are written to a file only where the
user names a folder for them; they are kept nowhere else.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TextIO

import pandas as pd

from faqlab.errors import FaqlabError
from faqlab.retriever import Hit

if TYPE_CHECKING:
    from faqlab.voice.caller import Heard

STAGES = ("transcript", "turn", "embed", "search", "voice")
"""
What passes between the end of a caller's speech and the first sound of the answer, at the agent:
until the words are there, until the model asks for a look-up, the two parts of that, until the voice begins.
"""

WAIT = {
    "transcript": ["transcript_ms"],
    "turn": ["turn_ms"],
    "look-up": ["embed_ms", "search_ms"],
    "voice": ["voice_ms"],
}
"""The parts of a caller's wait that the agent's record knows, by columns of `call_table`; the rest is the way."""

KEPT = 10_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HitRecord:
    """One entry found: `squared_l2` from 0 to 4, `score` by which it was ranked."""

    rank: int
    id: str
    question: str
    answer: str
    squared_l2: float
    score: float

    @classmethod
    def of(cls, hit: Hit) -> HitRecord:
        """Return *hit* flat, as it goes over the wire."""
        faq = hit.faq
        return cls(hit.rank, faq.id, faq.question, faq.answer, round(hit.squared_l2, 4), round(hit.score, 4))


@dataclass(frozen=True)
class LookupRecord:
    """
    One look-up.

    Attributes:
        id: Of the look-up, the same as on the caller's page.
        time: When it was made, UTC.
        room: In which call.
        query: What was looked up: the question as it was heard.
        outcome: `answer`, `ask_back` or `decline`; `failed` where the look-up broke, and an apology was all there was.
        confidence: Higher is surer; None where it failed.
        threshold: The confidence below which the assistant declines; None if it never does.
        squared_l2_threshold: How far an entry may be for the same, were it alone.
        hits: The entries found, best first.
        choices: What was offered when the assistant asked back.
        milliseconds: Of each of `STAGES`, where it is known.
    """

    id: str
    time: datetime
    room: str
    query: str
    outcome: str
    confidence: float | None
    threshold: float | None
    squared_l2_threshold: float | None
    hits: tuple[HitRecord, ...]
    choices: tuple[str, ...]
    milliseconds: dict[str, float]

    def message(self) -> dict[str, Any]:
        """Return what the caller's page is sent: the record without when and where."""
        return {key: value for key, value in asdict(self).items() if key not in ("time", "room")}


class CallLog:
    """
    The last 10,000 look-ups (`KEPT`) of all calls, oldest first. May be used from several threads at once.

    Args:
        folder: Where to append each record to `lookups-<date>.jsonl` as well; nowhere if None. The folder, if it is
            made, and the files are for this user alone.

    Raises:
        FaqlabError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._records: deque[LookupRecord] = deque(maxlen=KEPT)  # an agent runs for weeks
        self._subscribers: list[Callable[[LookupRecord], None]] = []
        self._lock = Lock()
        if folder:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file(datetime.now(UTC)).close()
            except OSError as error:
                raise FaqlabError(f"{folder}: records cannot be written there ({error.strerror}).") from None

    def __len__(self) -> int:
        return len(self._records)

    @property
    def records(self) -> tuple[LookupRecord, ...]:
        """The records that are kept, oldest first."""
        with self._lock:
            return tuple(self._records)

    def add(self, record: LookupRecord) -> None:
        """Keep *record*, and tell the subscribers, on the thread that calls this."""
        with self._lock:
            self._records.append(record)
            if self._folder:
                self._write(record)
            subscribers = list(self._subscribers)
        for tell in subscribers:
            try:
                tell(record)
            except Exception:  # who looks on must not cost the caller the call
                _log.exception("A subscriber to the calls failed.")

    def subscribe(self, tell: Callable[[LookupRecord], None]) -> Callable[[], None]:
        """Call *tell* with each new record, from the agent's thread; return what ends that."""
        with self._lock:
            self._subscribers.append(tell)

        def unsubscribe() -> None:
            with self._lock:
                if tell in self._subscribers:
                    self._subscribers.remove(tell)

        return unsubscribe

    def frame(self) -> pd.DataFrame:
        """Return one row a look-up; the stages in milliseconds, NaN where unknown."""
        columns = ["time", "room", "heard", "outcome", "confidence", "retrieved", "question", "squared_l2"]
        rows = [
            {
                "time": record.time,
                "room": record.room,
                "heard": record.query,
                "outcome": record.outcome,
                "confidence": record.confidence,
                "retrieved": [hit.id for hit in record.hits],
                "question": record.hits[0].question if record.hits else None,
                "squared_l2": record.hits[0].squared_l2 if record.hits else None,
                **{f"{stage}_ms": record.milliseconds.get(stage) for stage in STAGES},
            }
            for record in self.records
        ]
        return pd.DataFrame(rows, columns=[*columns, *(f"{stage}_ms" for stage in STAGES)])

    def _write(self, record: LookupRecord) -> None:
        line = json.dumps(asdict(record) | {"time": record.time.isoformat()}, ensure_ascii=False)
        try:
            with self._file(record.time) as file:
                file.write(line + "\n")
        except OSError:
            _log.exception("A record could not be written.")

    def _file(self, time: datetime) -> TextIO:
        assert self._folder is not None
        file = self._folder / f"lookups-{time:%Y-%m-%d}.jsonl"
        return open(file, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def call_table(exchanges: Sequence[Heard], records: Mapping[str, LookupRecord]) -> pd.DataFrame:
    """
    Return one row an exchange.

    Args:
        exchanges: What the scripted caller wrote down.
        records: The agent's own, by id: only these know when its voice began.

    Returns:
        `asked`, `heard`, `outcome`, `retrieved`, `offered`, `said`, `cut_in`, `first_sound_ms` and the stages as
        `…_ms`.
    """
    rows = []
    for heard in exchanges:
        lookup = heard.lookups[-1] if heard.lookups else None
        record = records.get(lookup["id"]) if lookup else None
        stages = record.milliseconds if record else lookup["milliseconds"] if lookup else {}
        seconds = heard.end_of_speech_to_first_audio_s
        rows.append(
            {
                "asked": heard.asked,
                "heard": heard.heard_as,
                "outcome": lookup["outcome"] if lookup else None,
                "retrieved": [hit["id"] for hit in lookup["hits"]] if lookup else [],
                "offered": [hit["id"] for hit in lookup["hits"][: len(lookup["choices"])]] if lookup else [],
                "said": heard.answer_text,
                "cut_in": heard.cut_in,
                "first_sound_ms": None if seconds is None else round(seconds * 1e3),
                **{f"{stage}_ms": stages.get(stage) for stage in STAGES},
            }
        )
    return pd.DataFrame(rows)
