"""Owns the files that pages load: copies under hashed names, compressed once, so that a browser keeps each for a year.

They are made by the first process that serves them and lie in AUDITLOG_DATA, in a folder named after their contents. So nothing has to be
collected by hand, containers stay read-only, another version makes another folder and leaves that of a process still running, and two
starts at once make the same: the draft that is renamed first stays. A page that was open during an upgrade has loaded its files already.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

log = logging.getLogger(__name__)


class Hashed(CompressedManifestStaticFilesStorage):
    """Addresses with hashes. A file that was not collected costs an operator its cache and not the page; tests are told."""

    lenient: ClassVar[bool] = True

    def stored_name(self, name: str) -> str:
        try:
            return str(super().stored_name(name))
        except ValueError:
            if not self.lenient:
                raise
            log.error("statics.missing", extra={"file": name})
            return name  # WhiteNoise finds the original, too


class Files(WhiteNoiseMiddleware):
    """Serves them. It looks at the folder once, when it starts, so the copies are made before that."""

    def __init__(self, *arguments: Any) -> None:
        collect()
        super().__init__(*arguments)


def collect() -> bool:
    """Makes the copies unless they are there; True if it did."""
    root = Path(settings.STATIC_ROOT)
    if root.is_dir():
        return False
    draft = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        _make(draft)
        draft.rename(root)
    except OSError as error:  # another start was first, or nothing may be written here: then the originals are served
        if not root.is_dir():
            log.warning("statics.not_collected", extra={"error_kind": type(error).__name__})
        return False
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    return True


def _make(folder: Path) -> None:
    """What `collectstatic` does, into this folder."""
    storage = Hashed(location=folder)
    found: dict[str, tuple[Any, str]] = {}
    for finder in get_finders():
        for path, source in finder.list([]):
            with source.open(path) as file:
                storage.save(path, file)
            found[path] = (storage, path)
    for _name, _hashed, problem in storage.post_process(found):
        if isinstance(problem, Exception):
            raise problem
