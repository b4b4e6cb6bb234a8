"""The small executables of a node: its programs in bin/, and etcd's programs as its image holds them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from upgrade_guard.lab import faults
from upgrade_guard.lab.layout import LabSettings, Layout

PROGRAMS = (
    "apt-cache",
    "apt-get",
    "apt-mark",
    "crictl",
    "dpkg",
    "ctr",
    "dpkg-deb",
    "dpkg-query",
    "kubeadm",
    "kubectl",
    "kubelet",
    "systemctl",
)
ETCD_PROGRAMS = ("etcd", "etcdctl", "etcdutl")
# The server is asked where a process has its FIFO open. Each word here is one of the shell's own, apart from mkfifo.
# What was asked is never done twice: without an answer the program counts as killed. The shell takes its standard files
# for other things meanwhile, so the server finds them as 7, 8 and 9.
LAUNCHER = """#!/bin/sh
server={server}
ask() {{
    read -r pid descriptor < "$server/ready" && [ "$server/requests" -ef "/proc/$pid/fd/$descriptor" ] &&
        [ -O "$server/requests" ] && {mkfifo} -m 600 "$server/$$" &&
        echo "$$ $# {node} {program}" > "$server/requests" || return
    read -r status < "$server/$$" || status=137
    [ "$status" != no ]
}}
ask "$@" 7<&0 8>&1 9>&2 2>/dev/null && exit "$status"
exec {python} "$@"
"""
# Faults that strike inside a program of etcd's image.
HOOKED = {
    "etcdctl": ("snapshot-truncated", "snapshot-flipped-byte"),
    "etcdutl": ("restore-fails-once", "restore-fails"),
}


def put_programs(settings: LabSettings, name: str) -> None:
    """A node's own programs."""
    layout = Layout.of(settings)
    layout.programs(name).mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        _write(layout.programs(name) / program, _launcher(settings, name, program))


def put_etcd_programs(settings: LabSettings, name: str, into: Path) -> None:
    """etcd, linked where the file system allows it, etcdctl and etcdutl, as the image of the lab has them.

    A program of an image never changes, whatever fault is on: what is to run in its place lies beside the lab.
    """
    for program in ETCD_PROGRAMS:
        target, real = into / program, Path(settings.etcd_binaries) / program
        target.unlink(missing_ok=True)
        if program in HOOKED:
            hook = shlex.quote(str(Layout.of(settings).hook(name, program)))
            _write(target, f'#!/bin/sh\n[ -e {hook} ] && exec {hook} "$@"\nexec {shlex.quote(str(real))} "$@"\n')
        else:
            _link(real, target)


def put_hooks(settings: LabSettings) -> None:
    """Bring the faults of now to the programs of etcd's image."""
    for program, names in HOOKED.items():
        wanted = any(faults.is_on(Path(settings.directory), fault) for fault in names)
        for name in settings.control_planes:
            hook = Layout.of(settings).hook(name, program)
            if wanted:
                hook.parent.mkdir(exist_ok=True)
                _write(hook, _launcher(settings, name, program))
            else:
                hook.unlink(missing_ok=True)


def _launcher(settings: LabSettings, name: str, program: str) -> str:
    """A shell script and not a `#!` line of Python: such a line may be neither long nor contain a space."""
    return LAUNCHER.format(
        server=shlex.quote(str(Layout.of(settings).server)),
        mkfifo=shlex.quote(shutil.which("mkfifo") or "mkfifo"),
        node=name,
        program=program,
        python=shlex.join((sys.executable, "-I", "-S", "-c", code(settings, name, program))),
    )


def code(settings: LabSettings, name: str, program: str) -> str:
    """What Python is given: the word of the command line by which a node's running program is known."""
    package = str(Path(__file__).resolve().parents[2])
    return (
        f"import sys; sys.path.insert(0, {package!r}); "
        f"from upgrade_guard.lab.programs.entry import run; run({program!r}, {name!r}, {settings.directory!r})"
    )


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.chmod(0o755)
    beside.replace(path)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
