"""Whether the settings that ssh says are in force check the key of the machine and leave our command as it is."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CHECKED = ("true", "yes", "ask", "accept-new")
_SHOWN = 4096  # characters of a value: lists of files are judged
_NEW = "accept-new"
_CONFIG = "~/.ssh/config or /etc/ssh/ssh_config sets it; see what is in force: ssh -G {destination}"
# What we send is not what arrives, or not what comes back, unless these say so (where this ssh knows them).
_AS_THEY_ARE = {"stdinnull": "no", "forkafterauthentication": "no", "sessiontype": "default"}


@dataclass(frozen=True)
class Objection:
    """Why a connection under these settings is refused, and what to do; `hint` may name the {destination}."""

    what: str
    hint: str


def objection_to(printed: str) -> Objection | None:
    """What is wrong with the settings that `ssh -G` printed; None when nothing is."""
    in_force: dict[str, str] = {}
    for line in printed.splitlines():
        name, _, value = line.partition(" ")
        in_force.setdefault(name.lower(), value.strip()[:_SHOWN])
    checking = in_force.get("stricthostkeychecking", "")
    if checking not in _CHECKED:
        return Objection(f"host keys are not checked (StrictHostKeyChecking is {checking or 'not known'})", _CONFIG)
    command = in_force.get("knownhostscommand", "none")
    if command != "none":
        return Objection(
            f"a program answers for host keys (KnownHostsCommand is {command})",
            'Leave it out for upgrade-guard: ssh.options = ["KnownHostsCommand=none"], and add the host keys.',
        )
    for name, wanted in _AS_THEY_ARE.items():
        if in_force.get(name, wanted) != wanted:
            return Objection(f"the ssh configuration sets {name} to {in_force[name]}", _CONFIG)
    return _of_known_hosts(in_force, new_ones=checking == _NEW)


def _of_known_hosts(in_force: Mapping[str, str], *, new_ones: bool) -> Objection | None:
    """A key that is accepted when it is new has to be kept, or every key is a new one."""
    own = _files(in_force, "userknownhostsfile")
    kept = [path for path in own[:1] if _keeps(path)] if new_ones else [path for path in own if _keeps(path)]
    if kept or (not new_ones and any(path.is_file() for path in _files(in_force, "globalknownhostsfile"))):
        return None
    return Objection(
        f"host keys are kept nowhere (UserKnownHostsFile is {in_force.get('userknownhostsfile', 'not known')})",
        'Say where they are for upgrade-guard: ssh.options = ["UserKnownHostsFile=~/.ssh/known_hosts"]',
    )


def _files(in_force: Mapping[str, str], name: str) -> tuple[Path, ...]:
    try:
        words = shlex.split(in_force.get(name, ""))
        return tuple(Path(word).expanduser() for word in words if word.lower() != "none")
    except (ValueError, RuntimeError):
        return ()


def _keeps(path: Path) -> bool:
    """A regular file, or none yet: a device keeps nothing."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True
    except OSError:
        return False
