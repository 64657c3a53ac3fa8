"""`make lab` ends in a JupyterLab that asks nothing, and says where the work in the background can be followed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from faqlab import lab

NOTIFICATIONS = "@jupyterlab/apputils-extension:notification"


def test_jupyterlab_starts_without_a_warning_and_does_not_ask_whether_to_look_for_news_and_updates() -> None:
    command = [*lab.jupyterlab(), "--no-browser", "--port=0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            lines = []
            for line in process.stderr:
                lines.append(line)
                if link := re.search(r"http://127\.0\.0\.1:\d+/\S*token=\w+", line):
                    break
            assert link, "".join(lines)
            link_to_settings = link[0].replace("/lab?", f"/lab/api/settings/{NOTIFICATIONS}?")
            settings = httpx.get(link_to_settings, trust_env=False).raise_for_status().json()
        finally:
            process.terminate()
    assert settings["schema"]["properties"]["fetchNews"]["default"] == "false"  # "none": it asks
    assert not [line for line in lines if re.search("warn|unrecognized|traitlets|error", line, re.IGNORECASE)]


def test_what_the_preparation_in_the_background_says_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAQLAB_FAQS", str(tmp_path / "nothing.json"))
    monkeypatch.setenv("FAQLAB_RETRIEVAL", str(tmp_path / "none.json"))
    log = tmp_path / "prepare.log"
    log.write_text("What an earlier one said.\n")
    with lab.prepare(log) as process:
        assert "Making the live demo ready." in log.read_text()  # from its first moment
        assert process.wait(60) == 2
    assert log.read_text().startswith("What an earlier one said.\n")
    assert re.search("^faqlab: .*nothing.json", log.read_text(), re.MULTILINE)


def test_jupyterlab_starts_also_where_the_cache_was_deleted_or_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab.subprocess, "Popen", lambda *args, stdout, **options: stdout)
    assert lab.prepare(tmp_path / "deleted" / "prepare.log").name == str(tmp_path / "deleted" / "prepare.log")
    (tmp_path / "file").touch()
    assert lab.prepare(tmp_path / "file" / "prepare.log") == subprocess.DEVNULL
    assert "cannot be written" in capsys.readouterr().out
