"""The JupyterLab of `make lab`: rooted in the project, for this machine only, opening the list of notebooks."""

import os
import sys
from pathlib import Path
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))

from tidy import tidy  # noqa: E402


class ContentsManager(AsyncLargeFileManager):
    """
    Tidies each notebook that JupyterLab saves.

    Otherwise JupyterLab adds kernel metadata, even if a notebook is only opened, and git shows a change.
    """

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        if model.get("type") == "notebook" and model.get("content"):
            tidy(model["content"])
        return await super().save(model, path)


c = get_config()  # noqa: F821 (Jupyter defines it before it reads this file)
c.ServerApp.contents_manager_class = ContentsManager
c.ContentsManager.allow_hidden = True  # so that `.env` can be edited
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.root_dir = str(ROOT)
c.ServerApp.allow_root = True  # has an effect only for root
c.ServerApp.open_browser = sys.platform == "darwin" or bool(
    os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
)
c.LabApp.default_url = "/lab/tree/notebooks/README.md"
c.LabApp.app_settings_dir = str(ROOT / ".jupyter")
