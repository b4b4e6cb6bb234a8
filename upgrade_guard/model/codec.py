"""Frozen values to JSON and back, for step results and manifests."""

from __future__ import annotations

from typing import Any, TypeVar

from cattrs.preconf.json import make_converter

# It stops at the first thing that does not fit: a report of millions of them takes minutes and gigabytes.
_converter = make_converter(detailed_validation=False)
T = TypeVar("T")


class Misfit(ValueError):
    """JSON that is not of the kind that was asked for; the text says what did not fit first."""


def to_json(value: Any) -> Any:
    """Plain dicts, lists, strings and numbers; times as ISO 8601, enums as their values."""
    return _converter.unstructure(value)


def from_json(kind: type[T], data: Any) -> T:
    """The value that `to_json` made. Raises Misfit for JSON that does not fit `kind`."""
    try:
        return _converter.structure(data, kind)
    except Exception as error:  # whatever a constructor or a conversion raises
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise Misfit(said[:200] or type(error).__name__) from error
