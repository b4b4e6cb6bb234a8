"""Frozen values to JSON and back, for step results and manifests."""

from __future__ import annotations

from typing import Any, TypeVar

from cattrs.preconf.json import make_converter

_converter = make_converter()
T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Plain dicts, lists, strings and numbers; times as ISO 8601, enums as their values."""
    return _converter.unstructure(value)


def from_json(kind: type[T], data: Any) -> T:
    """The value that `to_json` made. Raises cattrs' error group when the JSON does not fit `kind`."""
    return _converter.structure(data, kind)
