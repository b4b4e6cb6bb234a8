"""Values as the text that is stored, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def instant_text(value: datetime) -> str:
    """Aware time as UTC text of one width: `2024-05-01T01:02:03.000004Z`. Raises ValueError for a naive one."""
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone; the journal takes aware times only")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def instant(text: str) -> datetime:
    """Aware UTC again. Raises ValueError."""
    return datetime.fromisoformat(text)


def json_text(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, ASCII. Raises TypeError or ValueError for other values."""
    return _CANONICAL.encode(value)


def plain_text(value: str) -> str:
    """Lone surrogates (undecodable output) and NUL as escapes, which every database holds. A masked secret stays so."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
