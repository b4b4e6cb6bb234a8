"""The ordinary configuration that a lab leaves for the product."""

from __future__ import annotations

import json

from upgrade_guard.lab.layout import LabSettings, Layout
from upgrade_guard.lab.nodes import host_files
from upgrade_guard.model.node import table_of

HEAD = """# Written by `upgrade-guard lab up`: an ordinary configuration whose nodes are directories on this machine.
state_dir = {state}

[cluster]
name = "lab"
control_plane = {entrance}
node = {first}

[vault]
path = {vault}
offsite = [{url}]
allow_unencrypted_keys = true  # nobody needs the keys of a rehearsal
# The copies live on another device than the etcd data, as on a SAN that outlives this machine.
separate_storage = [{offsite}]

[upgrade]
# Shorter than on a real cluster, where a node takes minutes: a rehearsal of a failure should not.
drain_timeout = "15s"
ready_timeout = "45s"
settle_time = "2s"
apply_timeout = "45s"
"""
NODE = """
{head}
address = {address}
kubernetes_dir = {kubernetes}
kubelet_dir = {kubelet}
work_dir = {work}
path = {path}
package_source = {source}
host_files = [{files}]
"""


def write_configuration(settings: LabSettings) -> None:
    """DIR/config.toml; one that is there is left alone, because it may have been edited."""
    layout = Layout.of(settings)
    if layout.config.exists():
        return
    text = HEAD.format(
        state=_quoted(layout.directory / "state"),
        entrance=_quoted(_address(settings, settings.control_planes[0])),
        first=_quoted(settings.control_planes[0]),
        vault=_quoted(layout.directory / "vault"),
        url=_quoted(f"file://{settings.offsite}"),
        offsite=_quoted(settings.offsite),
    )
    for name in settings.names:
        text += NODE.format(
            head=table_of(name),
            address=_quoted(_address(settings, name)),
            kubernetes=_quoted(layout.kubernetes(name)),
            kubelet=_quoted(layout.kubelet(name)),
            work=_quoted(layout.work(name)),
            path=_quoted(f"{layout.programs(name)}:/usr/local/bin:/usr/bin:/bin"),
            source=_quoted(layout.package_source(name)),
            files=", ".join(_quoted(file) for file in host_files(settings, name)),
        )
    beside = layout.config.with_name(".config.toml.new")
    beside.write_text(text)
    beside.replace(layout.config)


def _address(settings: LabSettings, name: str) -> str:
    return f"root@{name}" if settings.over_ssh else "local"


def _quoted(value: object) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's."""
    return json.dumps(str(value), ensure_ascii=False)
