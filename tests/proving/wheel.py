"""upgrade-guard on a control plane as it is installed where there is no network: from a directory of wheels."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from clean_install import REQUIREMENTS, ROOT, build
from proving.cluster import Cluster
from proving.ground import podman, run
from proving.operators import Operator, policy

PYTHON = "3.11"
"""The one of the nodes' Debian; this machine may have another."""

# pip knows no order between these, so that all that fit a Debian 12 are named.
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010", "manylinux1")
INSTALLED = "/opt/upgrade-guard"
OFFSITE = "/srv/offsite"


def wheels(place: Path) -> None:
    """This checkout's wheel and everything that it needs, for the nodes' Python."""
    with tempfile.TemporaryDirectory() as work:
        wheel = build(Path(work))
        platforms = [f"--platform={name}_x86_64" for name in PLATFORMS]
        exactly = ("--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *platforms)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        locked = ("--require-hashes", "--requirement", REQUIREMENTS / "runtime.txt")
        run(*pip, *exactly, *locked, "--dest", place, cwd=ROOT, timeout=900)
        shutil.copy(wheel, place)


def on_the_node(cluster: Cluster) -> Operator:
    """Installed on the control plane without a network, with an off-site target on the worker.

    The configuration is where it is looked for, the state directory where it is by default.
    """
    node = cluster.control_plane
    place = cluster.directory / "wheels"
    place.mkdir()
    wheels(place)
    podman("cp", f"{place}/.", f"{node.name}:/root/wheels")
    node.run("python3", "-m", "venv", INSTALLED)
    offline = ("--quiet", "--no-index", "--find-links", "/root/wheels", "upgrade-guard")
    node.run(f"{INSTALLED}/bin/pip", "install", *offline)
    node.write("/root/.ssh/id_ed25519", (cluster.directory / "id_ed25519").read_text())
    node.write("/root/.ssh/known_hosts", (cluster.directory / "known_hosts").read_text())
    cluster.worker.run("mkdir", "-p", "/srv")
    target = f"ssh://root@{cluster.worker.address}{OFFSITE}"
    vault = f'[vault]\noffsite = ["{target}"]\nallow_unencrypted_keys = true\n'
    settings = f'[cluster]\nname = "{cluster.name}"\n{vault}{policy()}'
    node.write("/etc/upgrade-guard/config.toml", settings)
    program = f"{INSTALLED}/bin/upgrade-guard"
    typed = ("podman", "--runtime", "runc", "exec", "-i", node.name, program)
    return Operator(cluster, typed, node.state, program)
