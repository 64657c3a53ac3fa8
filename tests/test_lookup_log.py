"""The log of look-ups."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from faqlab.config import RetrievalConfig
from faqlab.encoder import Encoder
from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.lookup_log import LookupLog, LookupRecord, load_records
from faqlab.retriever import Retriever

PAY = "How can I pay?"
FAQS = FaqSet((Faq("pay", PAY, "You can pay by card."), Faq("abroad", "Do you deliver abroad?", "Yes.")))
CONFIG = RetrievalConfig(scale=20.0, null_cosine=0.45, decline_below=0.5, answer_from=0.9)


@pytest.fixture
def record(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> LookupRecord:
    retriever = Retriever.build(FAQS, CONFIG, encoder=encoder, cache_dir=tmp_path_factory.mktemp("cache"))
    answer = retriever.answer(PAY)
    answer = replace(answer, milliseconds={"transcript": 12.345, **answer.milliseconds})
    return replace(LookupRecord(PAY, "a-room", CONFIG.decline_below), **answer.as_dict())


def test_a_record_holds_the_answer_flat(record: LookupRecord) -> None:
    assert (record.outcome, record.reason, record.query, record.room) == ("answer", "confident", PAY, "a-room")
    assert (record.hits[0]["id"], record.hits[0]["rank"]) == ("pay", 1)
    assert record.hits[0]["squared_l2"] == pytest.approx(0, abs=0.1)
    assert record.threshold == 0.5
    assert record.milliseconds["transcript"] == 12.345
    assert {"time", "room"} == set(vars(record)) - set(record.message())
    json.dumps(record.message())


def test_the_page_is_sent_each_answer_as_the_plain_text_that_is_spoken(record: LookupRecord) -> None:
    source = "1. Open [the app](https://shop.example).\n2. Pay in &#8364;."
    sent = replace(record, hits=[{**record.hits[0], "answer": source}]).message()["hits"][0]
    assert (sent["answer"], sent["source"]) == ("Open the app.\nPay in €.", source)


def test_the_latest_records_are_kept_in_order(record: LookupRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faqlab.lookup_log.KEPT", 3)
    log = LookupLog()
    records = [LookupRecord(str(number), "", None) for number in range(5)]
    for each in records:
        log.add(each)
    assert list(log.records) == records[2:]


def test_subscribers_get_each_record_and_may_fail(record: LookupRecord, caplog: pytest.LogCaptureFixture) -> None:
    def fail(record: LookupRecord) -> None:
        raise RuntimeError("broken on purpose")

    log, seen = LookupLog(), []
    log.subscribers.append(fail)
    log.subscribers.append(seen.append)
    log.add(record)
    assert seen == [record]
    assert "broken on purpose" in caplog.text


def test_the_table_has_a_row_per_look_up(record: LookupRecord) -> None:
    log = LookupLog()
    assert log.to_frame().empty
    log.add(record)
    log.add(LookupRecord("?", "b-room", None))
    table = log.to_frame()
    assert list(table["outcome"]) == ["answer", "failed"]
    assert table["retrieved"][0][0] == "pay"
    assert table["question"][0] == PAY
    assert table["voice_ms"].isna().all()
    assert table["transcript_ms"].notna().tolist() == [True, False]


def test_records_go_to_a_file_of_the_day_that_others_cannot_read(record: LookupRecord, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    LookupLog(folder).add(record)
    [file] = folder.iterdir()
    assert file.name == f"lookups-{record.time:%Y-%m-%d}.jsonl"
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    line = json.loads(file.read_text())
    assert (line["query"], line["room"], line["hits"][0]["id"]) == (PAY, "a-room", "pay")
    assert line["time"] == record.time.isoformat()


def test_a_clock_that_is_set_back_loses_no_record(record: LookupRecord, tmp_path: Path) -> None:
    log = LookupLog(tmp_path / "records")
    earlier = replace(record, time=record.time - timedelta(days=1), milliseconds={"voice": -3_600_000.0})
    records = [record, replace(earlier, id="earlier"), replace(record, id="later")]
    for each in records:
        log.add(each)
    assert list(log.records) == records
    assert len(log.to_frame()) == 3
    lines = {path.name: len(path.read_text().splitlines()) for path in (tmp_path / "records").iterdir()}
    assert lines == {f"lookups-{each.time:%Y-%m-%d}.jsonl": n for each, n in ((record, 2), (earlier, 1))}


def test_a_folder_that_is_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("")
    with pytest.raises(FaqlabError, match=r"records: not writable .*; name another folder\."):
        LookupLog(tmp_path / "records")


def test_a_rating_is_added_to_the_record_and_saved_after_it(record: LookupRecord, tmp_path: Path) -> None:
    log, seen = LookupLog(tmp_path), []
    other = replace(record, id="other")
    for each in (record, other):
        log.add(each)
    log.subscribers.append(seen.append)
    log.update(record.room, record.id, helpful=False)
    log.update(record.room, "unknown", helpful=True)
    log.update("another room", other.id, helpful=True)
    rated = replace(record, helpful=False)
    assert log.records == (rated, other)
    assert seen == [rated]
    [file] = tmp_path.iterdir()
    assert [json.loads(line)["helpful"] for line in file.read_text().splitlines()] == [None, None, False]
    assert list(log.to_frame()["helpful"]) == [False, None]


def test_saved_records_are_read_back_as_they_were_last_and_half_a_line_is_passed_over(
    record: LookupRecord, tmp_path: Path
) -> None:
    log = LookupLog(tmp_path)
    other = replace(record, id="other", query="one line\u2028or two?")
    for each in (record, other):
        log.add(each)
    log.update(record.room, record.id, helpful=False)
    [file] = tmp_path.iterdir()
    with file.open("a") as half:
        half.write(record.to_json()[:40])
    later = replace(record, id="later")
    log.add(later)
    expected = [each.to_json() for each in (replace(record, helpful=False), other, later)]
    assert [each.to_json() for each in load_records(tmp_path)] == expected


def test_a_folder_among_the_records_and_a_line_that_is_nested_too_deeply_are_passed_over(
    record: LookupRecord, tmp_path: Path
) -> None:
    (tmp_path / "lookups-old.jsonl").mkdir()
    (tmp_path / "lookups-2024-01-01.jsonl").write_text("[" * 100_000 + "\n" + record.to_json() + "\n")
    assert [each.id for each in load_records(tmp_path)] == [record.id]


def test_a_folder_without_records_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FaqlabError, match="no records of look-ups; name the folder that --records"):
        load_records(tmp_path / "nowhere")
