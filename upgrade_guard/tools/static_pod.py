"""Static pod manifests as values. They are files that people edit, so nothing about their shape is believed."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from upgrade_guard.errors import UnexpectedOutput
from upgrade_guard.tools.plain_yaml import plain_yaml

_LARGEST = 256 * 1024  # bytes; real ones have four kilobytes
_SHOWN = 200  # characters of a manifest in our messages


@dataclass(frozen=True)
class StaticPod:
    """One container of a manifest: the one that is named like the component, else the first.

    `pod` is the pod's own name, `containers` maps the name of every container to its image. `variables` are the names
    of its environment variables, `requests` and `limits` its resources as they are written. `program` is "" where the
    image's own entrypoint runs. `flags` are without their dashes, a bare flag is "true", the last one wins; `given` has
    every value of a flag, in order. `mounts` maps paths in the container to paths on the node; `environment` has
    literal values only.
    """

    name: str
    image: str
    program: str
    flags: Mapping[str, str]
    mounts: Mapping[str, str]
    host_paths: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    pod: str = ""
    containers: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    host_aliases: bool = False

    def on_node(self, path: str) -> str:
        """Where a path of the container lies on the node: by the longest mount that holds it, else unchanged."""
        best = ""
        for inside in self.mounts:
            if (path == inside or path.startswith(inside.rstrip("/") + "/")) and len(inside) > len(best):
                best = inside
        return posixpath.normpath(self.mounts[best] + path[len(best) :]) if best else path


def parse_static_pod(text: str, component: str = "") -> StaticPod:
    """Read a manifest: the container named `component` where there is one, because a sidecar may stand before it.

    Raises UnexpectedOutput when it is no pod with a container.
    """
    try:
        return _pod(text, component)
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        raise _odd(text, f"{type(problem).__name__}: {problem}"[:_SHOWN]) from problem


@lru_cache(maxsize=32)  # the same few manifests are looked at in step after step, and YAML is slow
def _pod(text: str, component: str) -> StaticPod:
    document = _document(text)
    spec = _mapping(document.get("spec"), text, "spec")
    rows = spec.get("containers")
    if not isinstance(rows, list) or not rows:
        raise _odd(text, "it has no containers")
    containers = [_mapping(row, text, "container") for row in rows]
    container = next((one for one in containers if component and one.get("name") == component), containers[0])
    command, args = _strings(container.get("command"), text), _strings(container.get("args"), text)
    given = _flags([*command[1:], *args])
    volumes = _host_paths(spec, text)
    metadata = document.get("metadata")
    return StaticPod(
        name=str(container.get("name", "")),
        image=_string(container.get("image"), text),
        program=command[0] if command else "",
        flags={name: values[-1] for name, values in given.items()},
        mounts=_mounts(container, volumes, text),
        host_paths=tuple(dict.fromkeys(volumes.values())),
        environment=_environment(container),
        pod=str(metadata.get("name", "")) if isinstance(metadata, dict) else "",
        containers={str(one.get("name", "")): str(one.get("image", "")) for one in containers},
        given={name: tuple(values) for name, values in given.items()},
        variables=tuple(str(row.get("name")) for row in container.get("env") or () if isinstance(row, dict)),
        requests=_resources(container, "requests"),
        limits=_resources(container, "limits"),
        host_aliases=bool(spec.get("hostAliases")),
    )


def image_of(text: str, component: str = "") -> str:
    """The image of the container named `component`, else of the manifest's first."""
    return parse_static_pod(text, component).image


def command_flags(text: str, component: str = "") -> dict[str, str]:
    """The flags of its program, without dashes."""
    return dict(parse_static_pod(text, component).flags)


def host_paths(text: str) -> tuple[str, ...]:
    """The paths of the node that it mounts."""
    return parse_static_pod(text).host_paths


def _document(text: str) -> dict[str, Any]:
    if len(text) > _LARGEST:
        raise UnexpectedOutput("the manifest is larger than 256 KiB")
    try:
        document = plain_yaml(text)
    except ValueError as problem:
        raise _odd(text, "it is not YAML, or has aliases") from problem
    return _mapping(document, text, "document")


def _host_paths(spec: Mapping[str, Any], text: str) -> dict[str, str]:
    found = {}
    for volume in spec.get("volumes") or ():
        path = volume.get("hostPath", {}).get("path") if isinstance(volume, dict) and volume.get("hostPath") else None
        if path is not None:
            found[str(volume.get("name", ""))] = _string(path, text)
    return found


def _mounts(container: Mapping[str, Any], volumes: Mapping[str, str], text: str) -> dict[str, str]:
    mounts = {}
    for mount in container.get("volumeMounts") or ():
        if isinstance(mount, dict) and mount.get("name") in volumes:
            sub = mount.get("subPath")
            source = volumes[str(mount["name"])]
            mounts[_string(mount.get("mountPath"), text)] = f"{source}/{sub}" if sub else source
    return mounts


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    rows = container.get("env") or ()
    return {str(row.get("name")): str(row["value"]) for row in rows if isinstance(row, dict) and "value" in row}


def _resources(container: Mapping[str, Any], kind: str) -> dict[str, str]:
    resources = container.get("resources") or {}
    return {str(name): str(amount) for name, amount in (resources.get(kind) or {}).items()}


def _flags(words: list[str]) -> dict[str, list[str]]:
    """Every value of each flag. A word without dashes is the value of the bare flag before it."""
    flags: dict[str, list[str]] = {}
    waiting = ""
    for word in words:
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            flags.setdefault(name, []).append(value if equals else "true")
            waiting = "" if equals else name
        elif waiting:
            flags[waiting][-1] = word
            waiting = ""
    return flags


def _mapping(value: Any, text: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _odd(text, f"its {what} is not a mapping")
    return value


def _strings(value: Any, text: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _odd(text, "its command is not a list")
    return [str(word) for word in value]


def _string(value: Any, text: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _odd(text, f"{repr(value)[:_SHOWN]} is not a path or name")
    return value


def _odd(text: str, why: str) -> UnexpectedOutput:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
    return UnexpectedOutput(f"this is no static pod manifest that we know ({why}): {shlex.quote(first[:_SHOWN])}")
