"""Command lines and file names without what differs from run to run."""

from __future__ import annotations

import re

# Ids, digests, numbers, random names.
VOLATILE = (
    (re.compile(r"\b\d{8}-[0-9a-f]{6}\b"), "RUN"),
    (re.compile(r"\b\d{8}T\d{6}Z?\b"), "TIME"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "HEX"),
    (re.compile(r"([.-])[0-9a-f]{6,8}\b"), r"\1HEX"),
    (re.compile(r"\bproof-[a-z0-9_]{8}\b"), "proof-HEX"),
    (re.compile(r"\b127\.\d+\.\d+\.(\d+)\b"), r"ADDRESS-\1"),
    (re.compile(r"\b\d{4,}\b"), "N"),
)


def plain(words: str) -> str:
    """With a word in the place of what chance or the time of day gave."""
    for pattern, instead in VOLATILE:
        words = pattern.sub(instead, words)
    return words
