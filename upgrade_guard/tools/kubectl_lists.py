"""Lists of objects, as kubectl prints them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from upgrade_guard.tools.commands import parse_json, reads, unexpected

T = TypeVar("T")


def items(program: str, text: str) -> list[dict[str, Any]]:
    """The objects of a list as kubectl prints it. Raises UnexpectedOutput."""
    document = parse_json(program, text)
    found = document.get("items") if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise unexpected(program, text, "no list")
    return found


def rows(program: str, text: str, make: Callable[[dict[str, Any]], T]) -> tuple[T, ...]:
    """One value for each object. Raises UnexpectedOutput when an object lacks what every object of its kind has."""
    return reads(program)(lambda whole: tuple(make(one) for one in items(program, whole)))(text)


def condition(one: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of that type in an object's status, or an empty one."""
    for found in (one.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            return dict(found)
    return {}


def images(pod_spec: dict[str, Any]) -> tuple[str, ...]:
    """The images of its containers, those that run first included."""
    containers = (*(pod_spec.get("initContainers") or ()), *(pod_spec.get("containers") or ()))
    return tuple(str(container.get("image", "")) for container in containers)
