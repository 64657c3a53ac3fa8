"""A disk cache for files that are slow to build. A manifest records what they were made from and their SHA-256."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from faqlab.errors import shorten

log = logging.getLogger(__name__)

Files = Mapping[str, bytes]
MANIFEST = "manifest.json"


def load_or_build(
    folder: Path, names: Sequence[str], made_from: Mapping[str, object], build: Callable[[], Files], what: str
) -> Files:
    """
    Return the files *names* in *folder* if they're undamaged and up to date; otherwise build and keep them, alone.

    One process builds, the others wait. *made_from* holds what the files depend on, such as hashes and versions, as
    JSON values; *what* names the files in the log.
    """
    if files := read_files(folder, names, made_from)[0]:
        return files
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=300).acquire()
    except (OSError, ValueError) as error:  # a ValueError if the name has a null character
        log.warning(shorten(f"{folder} can't be locked ({error}), so {what} is built at each start."))
        return build()
    with lock:
        files, problem = read_files(folder, names, made_from)  # another process may have built them
        if files:
            return files
        (log.warning if problem else log.info)(shorten(f"Building {what} (once): {problem or 'not cached yet'}."))
        files = build()
        try:
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)
            else:
                folder.unlink(missing_ok=True)
            for name, data in files.items():
                write_aside(folder / name, data)
            write_aside(folder / MANIFEST, _manifest(made_from, files))  # last, because it makes the others valid
        except OSError as error:
            log.warning(shorten(f"{folder} can't be written ({error.strerror}), so {what} is built at each start."))
            shutil.rmtree(folder, ignore_errors=True)  # part of it may be there, and the disk may be full
        return files


def read_files(folder: Path, names: Sequence[str], made_from: Mapping[str, object]) -> tuple[Files | None, str]:
    """Return (files, "") or (None, problem); the problem is "" if nothing has been cached yet."""
    if not os.path.lexists(folder):
        return None, ""
    with suppress(OSError):
        if all((folder / name).is_file() for name in (*names, MANIFEST)):  # a pipe would block
            files = {name: (folder / name).read_bytes() for name in names}
            if (folder / MANIFEST).read_bytes() == _manifest(made_from, files):
                return files, ""
    return None, f"{folder} is damaged or out of date"


def _manifest(made_from: Mapping[str, object], files: Files) -> bytes:
    sums = {name: sha256(data) for name, data in files.items()}
    return json.dumps({"made_from": made_from, "sha256": sums}, indent=2, ensure_ascii=False).encode()


def write_aside(path: Path, data: bytes, check: Callable[[Path], object] = lambda aside: None) -> None:
    """Write *data*, on disk, so that a reader finds the old file or a whole new one, which *check* doesn't refuse."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid4().hex}.{path.name}")  # with the suffix, by which *check* reads it
    try:
        with aside.open("wb") as file:
            if path.exists():
                shutil.copymode(path, aside)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        check(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of *data* in hex."""
    return hashlib.sha256(data).hexdigest()
