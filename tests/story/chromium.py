"""Owns which browser the stories run in: the system's Chromium; where there is none, one line says how to get it."""

from __future__ import annotations

import os
import shutil

PATH = os.environ.get("AUDITLOG_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if PATH is None:
    raise RuntimeError("The stories need a browser and there is none. Run: apt-get install --no-install-recommends chromium")
