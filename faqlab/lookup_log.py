"""The log of look-ups. They are personal data, so they stay in memory unless the user names a folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic.dataclasses import dataclass

from faqlab.errors import FaqlabError
from faqlab.text import plain_text

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("transcript", "turn", "embed", "search", "voice")
"""Parts of the caller's wait: for the transcript, for the look-up to start, embedding, search, for the first sound."""

KEPT = 10_000  # the most records in memory, because an agent may run for weeks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LookupRecord:
    """A look-up in the call of *room*: `Answer.as_dict()` and the thresholds. By default, it's one that failed."""

    query: str
    room: str
    threshold: float | None
    outcome: str = "failed"
    reason: str = "error"
    answered: bool = False
    confidence: float | None = None
    hits: Sequence[Mapping[str, Any]] = ()
    choices: Sequence[str] = ()
    milliseconds: Mapping[str, float] = field(default_factory=dict)  # by stage
    helpful: bool | None = None  # what the caller says about the answer
    invented: Sequence[str] = ()  # numbers that the model said and that stand in none of the hits
    id: str = field(default_factory=lambda: f"lookup_{uuid4().hex[:12]}")
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def message(self) -> dict[str, Any]:
        """Return what the caller's page is sent: answers as plain text, and as `source` what stands in the FAQ."""
        hits = [{**hit, "answer": plain_text(hit["answer"]), "source": hit["answer"]} for hit in self.hits]
        return {key: value for key, value in {**vars(self), "hits": hits}.items() if key not in ("time", "room")}

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, default=datetime.isoformat)


class LookupLog:
    """
    The latest look-ups of all calls, oldest first. May be used from several threads at once.

    With a folder, each record is also appended to `lookups-<date>.jsonl` there, readable by this user alone, and again
    when it changes, as by the caller's rating; FaqlabError if that folder can't be made or written to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._records: dict[str, LookupRecord] = {}  # by id
        self.subscribers: list[Callable[[LookupRecord], None]] = []  # get each new record, on an agent's thread
        self._lock = Lock()
        if folder:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                TemporaryFile(dir=folder).close()
            except OSError as error:
                raise FaqlabError(f"{folder}: not writable ({error.strerror}); name another folder.") from None
            self.subscribers.append(partial(_write, folder))

    @property
    def records(self) -> tuple[LookupRecord, ...]:
        with self._lock:
            return tuple(self._records.values())

    def add(self, record: LookupRecord) -> None:
        """Keep *record*, in place of one with its id, and pass it to the subscribers, on the calling thread."""
        with self._lock:
            self._records[record.id] = record
            if len(self._records) > KEPT:
                del self._records[next(iter(self._records))]
        tell(self.subscribers, record)

    def update(self, room: str, record_id: str, **changes: Any) -> None:
        """Add a record again with *changes*; does nothing if the call in *room* has none with this id."""
        if (record := self._records.get(record_id)) and record.room == room:
            self.add(replace(record, **changes))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per look-up, with the best entry and the milliseconds of each stage, NaN if unknown."""
        import pandas as pd

        rows = []
        for record in self.records:
            best, ids = record.hits[0] if record.hits else {}, [hit.get("id") for hit in record.hits]
            stages = {f"{stage}_ms": ms for stage, ms in record.milliseconds.items()}
            rows.append({**vars(record), **best, **stages, "retrieved": ids})
        columns = ["time", "room", "query", "outcome", "reason", "confidence", "retrieved", "question", "squared_l2"]
        return pd.DataFrame(rows, columns=[*columns, "helpful", "invented", *(f"{stage}_ms" for stage in STAGES)])


def tell(receivers: Sequence[Callable[..., None]], *news: object) -> None:
    """Call *receivers* with *news*. What fails is logged, because it must not end a call or what supervises it."""
    for receive in tuple(receivers):
        try:
            receive(*news)
        except Exception as error:
            log.error("A change isn't passed on or saved: %s", error, exc_info=not isinstance(error, OSError))


def load_records(folder: Path) -> tuple[LookupRecord, ...]:
    """Return the records that a `LookupLog` saved in *folder*, each as it was last; FaqlabError if there are none."""
    records: dict[str, LookupRecord] = {}
    for path in sorted(filter(Path.is_file, folder.glob("lookups-*.jsonl"))):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, TypeError, RecursionError):  # half a line, if the machine stopped
                record = LookupRecord(**json.loads(line))
                records[record.id] = record
    if not records:
        raise FaqlabError(f"{folder}: no records of look-ups; name the folder that --records or FAQLAB_RECORDS named.")
    return tuple(records.values())


def _write(folder: Path, record: LookupRecord) -> None:
    path = folder / f"lookups-{record.time:%Y-%m-%d}.jsonl"
    # Unbuffered, so that each line is one write and threads don't mix their lines.
    with open(path, "a+b", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.seek(max(0, file.tell() - 1))
        torn = "" if file.read() in (b"", b"\n") else "\n"  # half a line, if the machine stopped, stays alone
        file.write(f"{torn}{record.to_json()}\n".encode())
