"""The runbook on a control plane, typed by hand: what upgrade-guard is measured beside."""

from __future__ import annotations

import time
from pathlib import Path

from proving.cluster import ProvingNode
from proving.ground import NEW, podman
from proving.kubeadm_files import IGNORED
from proving.packages import series

COMMANDS = Path(__file__).with_name("by_hand.sh")
APPLY_TIMEOUT = 900.0


def step(node: ProvingNode, *words: str) -> float:
    """One step of the runbook; how long it took, in seconds."""
    began = time.monotonic()
    node.run("bash", "-s", *words, stdin=COMMANDS.read_bytes())
    return time.monotonic() - began


def new_kubeadm(node: ProvingNode) -> None:
    """The target's package source and its kubeadm."""
    step(node, "source", series(NEW))
    step(node, "packages", f"kubeadm={NEW}-1.1")


def apply(node: ProvingNode) -> tuple[int, str]:
    """`kubeadm upgrade apply` and nothing else: its exit status, and what it said."""
    ignored = f"--ignore-preflight-errors={','.join(IGNORED)}"
    argv = ("exec", node.name, "kubeadm", "upgrade", "apply", f"v{NEW}", "--yes", ignored)
    ended = podman(*argv, check=False, timeout=APPLY_TIMEOUT)
    return ended.returncode, ended.stdout + ended.stderr
