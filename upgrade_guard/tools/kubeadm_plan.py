"""The table of `kubeadm upgrade plan`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from upgrade_guard.tools.commands import reads, unexpected

_UPDATE_FIRST = re.compile(r"you have to update kubeadm to (\S+?)\.?\s*$", re.MULTILINE)
_HEADER = re.compile(r"^COMPONENT\s+(NODE\s+)?CURRENT\s+TARGET\s*$")
_CONFIGS = re.compile(r"^API GROUP\s+CURRENT VERSION\s+PREFERRED VERSION\s+MANUAL UPGRADE REQUIRED\s*$")


@dataclass(frozen=True)
class PlannedComponent:
    """One row. `node` is "" for what belongs to the whole cluster, and in the tables of 1.29 and older."""

    component: str
    node: str
    current: str
    target: str


@dataclass(frozen=True)
class UpgradePlan:
    """What kubeadm would do. With `update_kubeadm_to` set, kubeadm is too old and its table misleads.

    `manual_configs` are component configurations that a person must convert first. No components: nothing to upgrade.
    """

    components: tuple[PlannedComponent, ...]
    update_kubeadm_to: str = ""
    manual_configs: tuple[str, ...] = ()

    @property
    def must_update_kubeadm(self) -> bool:
        """Does it say that kubeadm itself comes first?"""
        return bool(self.update_kubeadm_to)


@reads("kubeadm upgrade plan")
def parse_upgrade_plan(text: str) -> UpgradePlan:
    """The tables of kubeadm 1.24 to 1.35. Raises UnexpectedOutput when it is no plan at all."""
    if "[upgrade" not in text:
        raise unexpected("kubeadm upgrade plan", text)
    components: list[PlannedComponent] = []
    configs: list[str] = []
    columns: tuple[int, ...] = ()
    in_configs = False
    for line in text.splitlines():
        if _HEADER.match(line):
            columns, in_configs = _columns(line), False
        elif _CONFIGS.match(line):
            columns, in_configs = (), True
        elif not line.strip() or line.startswith("_"):
            columns, in_configs = (), False
        elif columns:
            components.append(_component(line, columns))
        elif in_configs and line.split()[-1] == "yes":
            configs.append(line.split()[0])
    update = _UPDATE_FIRST.search(text)
    return UpgradePlan(tuple(components), update.group(1) if update else "", tuple(configs))


def _columns(header: str) -> tuple[int, ...]:
    return tuple(header.index(name) for name in ("COMPONENT", "NODE", "CURRENT", "TARGET") if name in header)


def _component(line: str, columns: tuple[int, ...]) -> PlannedComponent:
    ends = (*columns[1:], len(line) + 1)
    cells = [line[start:end].strip() for start, end in zip(columns, ends, strict=True)]
    if len(cells) == 3:
        cells.insert(1, "")
    return PlannedComponent(*cells)
