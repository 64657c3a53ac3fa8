"""Files that are expensive to make and must never be wrong: kept with a manifest, checked before use."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LOCK_SECONDS = 300


def sha256(data: bytes) -> str:
    """Return the SHA-256 of *data* in hex."""
    return hashlib.sha256(data).hexdigest()


def slug(text: str) -> str:
    """Turn *text* into something that can stand in a folder's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:40] or "unnamed"


def write_aside(path: Path, data: bytes) -> None:
    """Write *data* to *path* so that a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def load_or_build(
    folder: Path,
    made_from: Mapping[str, object],
    build: Callable[[], Mapping[str, bytes]],
    what: str,
) -> Mapping[str, bytes]:
    """
    Return the files in *folder* if they are whole and were made from *made_from*; else build and keep them.

    Several processes may call this for one folder: one builds, the others wait for it. A folder that cannot
    be written costs the cache and nothing else.

    Args:
        folder: Where the files and their manifest stand.
        made_from: Whatever the files depend on (hashes, versions); JSON values.
        build: Makes the files: name to content.
        what: What is being built, for the log.
    """
    files, problem = _read(folder, made_from)
    if files is not None:
        return files
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=LOCK_SECONDS)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("Another process is building %s: waiting for it.", what)
            lock.acquire()
    except (OSError, Timeout) as error:
        log.warning("%s cannot be locked (%s): %s is made anew at each start.", folder, error, what)
        return build()
    try:
        files, problem = _read(folder, made_from)  # another process may have built it while we waited
        if files is not None:
            return files
        log.log(
            logging.WARNING if problem else logging.INFO,
            "Building %s%s.",
            what,
            f": {problem}" if problem else "",
        )
        files = build()
        try:
            _write(folder, made_from, files)
        except OSError as error:
            log.warning("%s cannot be written (%s): %s is made anew at each start.", folder, error, what)
        return files
    finally:
        lock.release()


def _read(folder: Path, made_from: Mapping[str, object]) -> tuple[Mapping[str, bytes] | None, str]:
    """Return the files, or None and why not ("" if there is simply nothing yet)."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["made_from"] != json.loads(json.dumps(made_from)):
            changed = sorted(k for k in made_from if manifest["made_from"].get(k) != made_from[k])
            return None, f"the kept one is out of date ({', '.join(changed) or 'it depended on more'})"
        files = {}
        for name, digest in manifest["sha256"].items():
            files[name] = (folder / name).read_bytes()
            if sha256(files[name]) != digest:
                return None, f"{folder / name} is damaged"
        return (files, "") if files else (None, f"{folder / MANIFEST} names no files")
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        return None, "" if missing == MANIFEST else f"{missing} is missing from {folder}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return None, f"{folder / MANIFEST} cannot be used ({error})"


def _write(folder: Path, made_from: Mapping[str, object], files: Mapping[str, bytes]) -> None:
    if folder.exists() and not folder.is_dir():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():  # what an older version left
        if old.name not in files and old.name != MANIFEST:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, data in files.items():
        write_aside(folder / name, data)
    manifest = {"made_from": dict(made_from), "sha256": {name: sha256(data) for name, data in files.items()}}
    write_aside(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode())
