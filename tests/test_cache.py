"""What is kept is used when it is whole and still true; otherwise it is made anew, and never wrong."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from faqlab.cache import MANIFEST, load_or_build, slug, write_aside

MADE_FROM = {"faqs": "abc", "version": 1}
FILES = {"one.bin": b"first file" * 50, "two.bin": b"second"}


class Builder:
    """Builds the same files each time, and counts."""

    def __init__(self, files: Mapping[str, bytes] = FILES) -> None:
        self.files, self.times = files, 0

    def __call__(self) -> Mapping[str, bytes]:
        self.times += 1
        return self.files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "mine-0123"


@pytest.fixture
def built(folder: Path) -> Path:
    load_or_build(folder, MADE_FROM, Builder(), "it")
    return folder


def open_again(folder: Path, made_from: Mapping[str, object] = MADE_FROM) -> int:
    """Return how often the files had to be built; they are the right ones in any case, and then kept."""
    build = Builder()
    assert load_or_build(folder, made_from, build, "it") == FILES
    again = Builder()
    assert load_or_build(folder, made_from, again, "it") == FILES
    assert again.times == 0
    return build.times


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may write anywhere: as root, be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("root without the right to be another user")
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_first_start_builds_and_the_second_reads(folder: Path) -> None:
    assert open_again(folder) == 1
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}
    assert open_again(folder) == 0


def test_a_cached_start_needs_neither_lock_nor_right_to_write(built: Path) -> None:
    (built.parent / f".{built.name}.lock").unlink(missing_ok=True)
    assert open_again(built) == 0
    assert not (built.parent / f".{built.name}.lock").exists()


@pytest.mark.parametrize(
    "changed", [{"faqs": "abd", "version": 1}, {"faqs": "abc", "version": 2}, {"faqs": "abc"}, {**MADE_FROM, "new": 0}]
)
def test_what_was_made_from_something_else_is_rebuilt(
    built: Path, changed: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    assert open_again(built, changed) == 1
    assert "out of date" in caplog.text


def test_a_rebuild_says_what_had_changed(built: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_again(built, {"faqs": "abd", "version": 1})
    assert "the kept one is out of date (faqs)" in caplog.text


def test_a_first_build_is_no_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_again(folder)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0, 1, -1])
def test_a_truncated_file_is_rebuilt(built: Path, name: str, kept: int, caplog: pytest.LogCaptureFixture) -> None:
    (built / name).write_bytes(FILES[name][:kept])
    assert open_again(built) == 1
    assert f"{name} is damaged" in caplog.text


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_rebuilt_wherever_it_is(built: Path, name: str) -> None:
    for bit in range(0, len(FILES[name]) * 8, 13):
        flip(built / name, bit)
        assert open_again(built) == 1


def test_a_flipped_bit_of_the_manifest_never_gives_wrong_files(built: Path) -> None:
    manifest = (built / MANIFEST).read_bytes()
    for bit in range(0, len(manifest) * 8, 3):
        flip(built / MANIFEST, bit)
        assert load_or_build(built, MADE_FROM, Builder(), "it") == FILES
        (built / MANIFEST).write_bytes(manifest)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_rebuilt(built: Path, name: str) -> None:
    (built / name).unlink()
    assert open_again(built) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"made_from": 1, "sha256": 2}',
        json.dumps({"made_from": MADE_FROM}).encode(),
        json.dumps({"made_from": MADE_FROM, "sha256": {}}).encode(),
        json.dumps({"made_from": MADE_FROM, "sha256": None}).encode(),
        json.dumps({"made_from": MADE_FROM, "sha256": ["one.bin"]}).encode(),
        json.dumps({"made_from": MADE_FROM, "sha256": {"one.bin": None}}).encode(),
    ],
    ids=lambda garbage: garbage[:24].decode(errors="replace"),
)
def test_a_manifest_of_garbage_is_rebuilt(built: Path, garbage: bytes) -> None:
    (built / MANIFEST).write_bytes(garbage)
    assert open_again(built) == 1


def test_what_an_older_version_left_is_cleared_away(built: Path) -> None:
    (built / "older.bin").write_bytes(b"x")
    (built / "older").mkdir()
    open_again(built, {"faqs": "abd"})
    assert {path.name for path in built.iterdir()} == {*FILES, MANIFEST}


def test_a_file_in_the_folders_place_is_replaced(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"not a folder")
    assert open_again(folder) == 1


def test_a_file_in_the_caches_place_costs_the_cache_and_nothing_else(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.write_bytes(b"not a folder")
    for times in (1, 2):
        build = Builder()
        assert load_or_build(folder, MADE_FROM, build, "the index") == FILES
        assert build.times == 1
        assert caplog.text.count("the index is made anew at each start") == times
    assert folder.parent.read_bytes() == b"not a folder"


@pytest.mark.parametrize("which", ["the cache", "the folder in it"])
def test_a_folder_that_may_not_be_written_costs_the_cache_and_nothing_else(
    which: str, caplog: pytest.LogCaptureFixture
) -> None:
    with tempfile.TemporaryDirectory() as root:  # pytest's own folders are closed to other users
        cache = Path(root) / "cache"
        folder = cache / "mine-0123"
        folder.mkdir(parents=True)
        Path(root).chmod(0o755)
        cache.chmod(0o555 if which == "the cache" else 0o777)
        folder.chmod(0o555)
        with an_ordinary_user():
            build = Builder()
            assert load_or_build(folder, MADE_FROM, build, "the index") == FILES
        assert build.times == 1
        assert list(folder.iterdir()) == []
        cache.chmod(0o755)
    assert "the index is made anew at each start" in caplog.text


def test_a_cache_that_may_not_be_written_is_still_read() -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "cache" / "mine-0123"
        load_or_build(folder, MADE_FROM, Builder(), "it")
        for path in (Path(root), folder.parent, folder):
            path.chmod(0o555)
        with an_ordinary_user():
            build = Builder()
            assert load_or_build(folder, MADE_FROM, build, "it") == FILES
        assert build.times == 0
        for path in (Path(root), folder.parent, folder):
            path.chmod(0o755)


def test_a_folder_that_stays_locked_costs_the_cache_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from filelock import FileLock

    monkeypatch.setattr("faqlab.cache.LOCK_SECONDS", 0.1)
    folder.parent.mkdir()
    with FileLock(folder.with_name(f".{folder.name}.lock")), caplog.at_level(logging.INFO):
        assert load_or_build(folder, MADE_FROM, Builder(), "it") == FILES
    waits, gives_up = (record.getMessage() for record in caplog.records)
    assert waits == "Another process is building it: waiting for it."
    assert "cannot be locked" in gives_up


PROCESS = """
import sys, time
from pathlib import Path
from faqlab.cache import load_or_build
folder, log = Path(sys.argv[1]), Path(sys.argv[2])
def build():
    with log.open("a") as file:
        file.write("built\\n")
    time.sleep(1)
    return {"one.bin": b"x" * 1_000_000}
log.with_name(f"ready-{sys.argv[3]}").touch()
while len(list(log.parent.glob("ready-*"))) < 3:
    time.sleep(0.005)
print(len(load_or_build(folder, {"a": 1}, build, "it")["one.bin"]))
"""


def test_of_three_processes_at_once_one_builds_and_all_get_the_same(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "builds"
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, folder, log, str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["1000000"] * 3
    assert log.read_text() == "built\n"


KILLED = """
import os, signal, sys
from pathlib import Path
from faqlab.cache import load_or_build
after, real = int(sys.argv[2]), Path.replace
def replace(self, target):
    global after
    if after == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    after -= 1
    return real(self, target)
Path.replace = replace
load_or_build(Path(sys.argv[1]), {"faqs": "abc", "version": 1}, lambda: {"one.bin": b"halfway", "two.bin": b"?"}, "it")
"""


@pytest.mark.parametrize("before", ["nothing", "an older one"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_process_killed_while_it_writes_leaves_nothing_that_is_used(folder: Path, before: str, after: int) -> None:
    if before == "an older one":
        load_or_build(folder, {"faqs": "older"}, Builder({"one.bin": b"older", "two.bin": b"older"}), "it")
    killed = subprocess.run([sys.executable, "-c", KILLED, folder, str(after)], timeout=60)
    assert killed.returncode == -9
    assert open_again(folder) == 1
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}


def test_a_disk_that_is_full_costs_the_cache_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert load_or_build(folder, MADE_FROM, Builder(), "it") == FILES
    assert "No space left on device" in caplog.text
    assert list(folder.iterdir()) == []
    assert open_again(folder) == 1


def test_a_build_that_fails_leaves_the_lock_open_and_the_older_files_alone(built: Path) -> None:
    def fail() -> Mapping[str, bytes]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_build(built, {"faqs": "abd"}, fail, "it")
    assert open_again(built) == 0
    start = time.perf_counter()
    assert open_again(built, {"faqs": "abd"}) == 1
    assert time.perf_counter() - start < 5


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    write_aside(path, b"old")
    seen: list[bytes] = []
    replace: Callable[..., Path] = Path.replace

    def look(self: Path, target: Path) -> Path:
        seen.append(path.read_bytes())
        assert self.read_bytes() == b"new"
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    write_aside(path, b"new")
    assert (seen, path.read_bytes()) == ([b"old"], b"new")
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("text", "name"), [("My FAQ (v2)", "my-faq-v2"), ("../../etc", "etc"), ("问题", "unnamed"), ("a" * 99, "a" * 40)]
)
def test_any_name_becomes_one_that_can_stand_in_a_folder(text: str, name: str) -> None:
    assert slug(text) == name
