"""Files in the cache are used if they're undamaged and up to date; otherwise they're built again."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
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
    ("made_from", "changed"),
    [({**MADE_FROM, "faqs": "abd"}, "faqs"), ({"faqs": "abc"}, "version"), ({**MADE_FROM, "new": 0}, "new")],
)
def test_files_made_from_something_else_are_rebuilt_and_the_log_names_the_change(
    built: Path, made_from: dict[str, object], changed: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert [builds(built, made_from), builds(built, made_from)] == [1, 0]
    assert f"out of date (changed: {changed})" in caplog.text


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
    ],
    ids=["empty", "a list", "nested", "numbers", "no hashes", "hashes are null", "a file is left out"],
)
def test_an_unusable_manifest_is_rebuilt(built: Path, manifest: str) -> None:
    (built / MANIFEST).write_text(manifest)
    assert [builds(built), builds(built)] == [1, 0]


def test_what_does_not_belong_there_is_removed(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"not a folder")
    assert [builds(folder), builds(folder)] == [1, 0]
    (folder / "older").mkdir()
    builds(folder, {"faqs": "abd"})
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}


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
