"""systemctl, for the units of a node: kubelet and containerd."""

from __future__ import annotations

from upgrade_guard.lab import kubelet
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, say, take_apart
from upgrade_guard.lab.simulation import opened

INACTIVE = 3  # what is-active exits with when a unit is not active (systemctl(1))


def main(place: ProgramPlace, words: list[str]) -> int:
    """`is-active`, `start`, `stop`, `restart`, `daemon-reload`, `show -p ActiveState,NRestarts`."""
    given = take_apart(words, values=("-p", "--property"), switches=("--quiet", "-q", "--no-pager", "--value"))
    verb, *units = given.plain or ("",)
    if verb == "daemon-reload" and not units:
        return 0
    units = [unit.removesuffix(".service") for unit in units]
    for unit in units:
        if unit not in ("kubelet", "containerd"):
            raise Failure(f"Failed to {verb} {unit}.service: Unit {unit}.service not found.", 5)
    if not units:
        raise UnknownWords("no unit")
    if verb == "is-active":
        return _is_active(place, units, quiet=bool(given.switches & {"-q", "--quiet"}))
    if verb == "show":
        asked = (*given.values.get("-p", ()), *given.values.get("--property", ()))
        say("\n\n".join(_shown(place, unit, ",".join(asked)) for unit in units))
        return 0
    if verb not in ("start", "stop", "restart") or units != ["kubelet"]:
        raise UnknownWords(f"{verb} {' '.join(units)}")
    with opened(place.directory, node=place.node) as lab:
        record = lab.records[place.node]
        if verb == "stop":
            kubelet.stop(record)
        elif verb == "restart" or not record.kubelet.active:
            kubelet.start(lab.settings, record)
        lab.reconcile(place.node)
    return 0


def _is_active(place: ProgramPlace, units: list[str], *, quiet: bool) -> int:
    states = [_state(place, unit) for unit in units]
    if not quiet:
        say("\n".join(states))
    return 0 if "active" in states else INACTIVE


def _shown(place: ProgramPlace, unit: str, asked: str) -> str:
    """Properties as `systemctl show` prints them, those that were asked for or all of ours."""
    found = {"ActiveState": _state(place, unit), "NRestarts": "0"}
    if unit == "kubelet":
        with opened(place.directory, node=place.node) as lab:
            found["NRestarts"] = str(lab.records[place.node].kubelet.restarts)
    names = [name for name in asked.split(",") if name] or list(found)
    return "\n".join(f"{name}={found[name]}" for name in names if name in found)


def _state(place: ProgramPlace, unit: str) -> str:
    if unit == "containerd":
        return "active"
    with opened(place.directory, node=place.node) as lab:
        found = lab.records[place.node].kubelet
        if found.broken:
            return "activating"  # in systemd's restart loop, and not failed (PROVING.md)
        return "active" if found.active else "inactive"
