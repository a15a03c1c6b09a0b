"""Outputs appear whole or not at all: write to a temporary name in the same folder, then rename.

Also the few things that all our JSON records and their checksums share.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block succeeds.

    The temporary name keeps all suffixes (`.nii.gz`, `.seg.nrrd`), since writers choose the format
    by them. When the block raises, the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Mapping[str, Any], allow_nan: bool = True) -> None:
    """Write a JSON object, whole or not at all.

    allow_nan: whether NaN may be in it, which strict readers refuse; else it raises `ValueError`.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan)
    with write_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass as JSON gives them back, lists as tuples again."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
