"""Files in the cache are used if they're undamaged and up to date; otherwise they're built again."""

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

from faqlab.cache import MANIFEST, load_or_build, sha256, write_aside

MADE_FROM = {"faqs": "abc", "version": 1}
FILES = {"one.bin": b"first file" * 50, "two.bin": b"second"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "mine-0123"


@pytest.fixture
def built(folder: Path) -> Path:
    assert builds(folder) == 1
    return folder


def builds(folder: Path, made_from: Mapping[str, object] = MADE_FROM) -> int:
    """Open the cache, check that the files are right, and return how often they had to be built."""
    times = []
    files = load_or_build(folder, list(FILES), made_from, lambda: times.append(1) or FILES, "the index")
    assert files == FILES
    return len(times)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may write anywhere, so become another user for a while."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(os.getuid())


def test_the_first_start_builds_and_later_ones_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert [builds(folder), builds(folder)] == [1, 0]
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "made_from",
    [{**MADE_FROM, "faqs": "abd"}, {"faqs": "abc"}, {**MADE_FROM, "new": 0}, {**MADE_FROM, "version": None}],
)
def test_files_made_from_something_else_are_rebuilt_and_the_log_says_so(
    built: Path, made_from: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    assert [builds(built, made_from), builds(built, made_from)] == [1, 0]
    assert f"Building the index (once): {built} is damaged or out of date." in caplog.text


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").touch()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a bit flipped": flip_a_bit,
    "a folder instead": replace_by_a_folder,
    "a pipe instead": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "a link to a folder": lambda path: (path.unlink(), path.symlink_to(".")),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_damaged_file_is_rebuilt(built: Path, name: str, damage: str) -> None:
    DAMAGE[damage](built / name)
    assert [builds(built), builds(built)] == [1, 0]


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"made_from": 1, "sha256": 2}',
        json.dumps({"made_from": MADE_FROM}),
        json.dumps({"made_from": MADE_FROM, "sha256": None}),
        json.dumps({"made_from": MADE_FROM, "sha256": {"one.bin": sha256(FILES["one.bin"])}}),
        json.dumps({"made_from": MADE_FROM, "sha256": [sha256(data) for data in FILES.values()]}),
        json.dumps({"made_from": [*MADE_FROM], "sha256": {}}),
        json.dumps({"made_from": {"x\n" * 100_000: 1}, "sha256": {}}),
        "1" * 100_000,
    ],
    ids=[
        "empty",
        "a list",
        "nested",
        "numbers",
        "no hashes",
        "null",
        "one left out",
        "lists",
        "list",
        "long",
        "digits",
    ],
)
def test_an_unusable_manifest_is_rebuilt_with_one_line_in_the_log(
    built: Path, manifest: str, caplog: pytest.LogCaptureFixture
) -> None:
    (built / MANIFEST).write_text(manifest)
    assert [builds(built), builds(built)] == [1, 0]
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("Building the index (once): ") and line.endswith(".")
    assert len(line) <= 300 and line.isprintable() and "Error" not in line


def test_what_does_not_belong_there_is_removed(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"not a folder")
    assert [builds(folder), builds(folder)] == [1, 0]
    (folder / "older").mkdir()
    builds(folder, {"faqs": "abd"})
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.touch, lambda path: path.symlink_to(path.name), lambda path: path.symlink_to(path.parent)],
    ids=["a pipe", "a file", "a link to itself", "a link to a folder"],
)
def test_what_is_there_instead_of_the_folder_is_replaced(folder: Path, make: Callable[[Path], object]) -> None:
    folder.parent.mkdir()
    make(folder)
    assert [builds(folder), builds(folder)] == [1, 0]
    assert not folder.is_symlink()


def test_a_file_that_cannot_be_read_is_rebuilt() -> None:
    with tempfile.TemporaryDirectory() as root:  # other users can't enter pytest's folders
        Path(root).chmod(0o777)
        with ordinary_user():
            folder = Path(root, "cache", "mine-0123")
            builds(folder)
            for name in (*FILES, MANIFEST):
                (folder / name).chmod(0)
                assert [builds(folder), builds(folder)] == [1, 0]


def test_without_a_place_for_the_lock_the_files_are_built_at_each_start(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.parent / ".mine-0123.lock").mkdir(parents=True)
    assert [builds(folder), builds(folder)] == [1, 1]
    nowhere = Path("a\0b" * 200, "c")
    assert builds(nowhere) == 1
    assert caplog.text.count("can't be locked") == 3
    assert all(len(record.getMessage()) <= 300 for record in caplog.records)


FULL = """
import logging, resource, sys
from pathlib import Path
from faqlab.cache import load_or_build
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # as on a full disk, a write stops halfway
files = {"one.bin": b"x" * 9_000, "two.bin": b"y" * 11_000}
print(load_or_build(Path(sys.argv[1]), list(files), {"a": 1}, lambda: files, "the index") == files)
"""


def test_on_a_full_disk_the_files_are_used_without_the_cache_and_nothing_is_left_there(folder: Path) -> None:
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", FULL, folder], capture_output=True, text=True)
        assert run.stdout == "True\n"
        assert run.stderr == f"{folder} can't be written (File too large), so the index is built at each start.\n"
        assert [path.name for path in folder.parent.iterdir()] == [".mine-0123.lock"]


def test_a_clock_that_is_set_back_does_not_matter(built: Path) -> None:
    for path in (built, *built.iterdir(), *built.parent.iterdir()):
        os.utime(path, (time.time() + 3600,) * 2)
    assert builds(built) == 0
    assert [builds(built, {"faqs": "abd"}), builds(built, {"faqs": "abd"})] == [1, 0]


def test_a_cache_that_cannot_be_written_is_read_and_what_it_lacks_is_built_at_each_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with tempfile.TemporaryDirectory() as root:  # other users can't enter pytest's folders
        folder, missing = Path(root, "cache", "mine-0123"), Path(root, "cache", "other")
        builds(folder)
        for path in (Path(root), folder.parent, folder):
            path.chmod(0o555)
        with ordinary_user():
            assert [builds(folder), builds(missing), builds(missing)] == [0, 1, 1]
        for path in (Path(root), folder.parent, folder):
            path.chmod(0o755)
    assert caplog.text.count("so the index is built at each start") == 2


PROCESS = """
import sys, time
from pathlib import Path
from faqlab.cache import load_or_build
folder, log = Path(sys.argv[1]), Path(sys.argv[2])
def build():
    with log.open("a") as file:
        file.write("built\\n")
    time.sleep(0.3)
    return {"one.bin": b"x" * 1_000_000}
log.with_name(f"ready-{sys.argv[3]}").touch()
while len(list(log.parent.glob("ready-*"))) < 3:
    time.sleep(0.005)
print(len(load_or_build(folder, ["one.bin"], {"a": 1}, build, "it")["one.bin"]))
"""


def test_of_three_processes_at_once_one_builds_and_all_get_the_files(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "builds"
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, folder, log, str(n)], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    assert [process.communicate()[0] for process in processes] == ["1000000\n"] * 3
    assert log.read_text() == "built\n"


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_what_an_interrupted_or_failed_write_leaves_is_not_used(
    built: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name == name:
            raise OSError(28, "No space left on device")
        write_aside(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("faqlab.cache.write_aside", full)
        assert builds(built, {"faqs": "abd"}) == 1
    assert [builds(built), builds(built)] == [1, 0]


def test_a_failed_build_leaves_the_older_files_and_the_lock_is_free(built: Path) -> None:
    def fail() -> Mapping[str, bytes]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_build(built, list(FILES), {"faqs": "abd"}, fail, "it")
    assert [builds(built), builds(built, {"faqs": "abd"})] == [0, 1]
