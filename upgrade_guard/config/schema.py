"""The schema as data: each field carries its kind, its default and its meaning.

Validation, the commented sample file and the reference page are made from it, so they cannot drift apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upgrade_guard.config import kinds
from upgrade_guard.config.kinds import (
    DESTINATION,
    DURATION,
    DURATION_OR_NONE,
    FILE,
    NODE_PATH,
    OFFSITE_SCHEMES,
    PATH,
    TEXT,
    USER,
    Kind,
    at_least,
    list_of,
    one_of,
)
from upgrade_guard.model.node import NodeSettings

_SET_BY_LOAD = Path()  # defaults that depend on the state directory


def _key(kind: Kind, default: object, meaning: str, *, sample: str = "", shown: str = "") -> Any:
    """One key. `sample` is TOML for the sample file where the default says too little; `shown` words for a default."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning, "sample": sample, "shown": shown})


@dataclass(frozen=True)
class ClusterSettings:
    """Which cluster, and how it is reached."""

    name: str = _key(
        TEXT, "", "What you call the cluster; asked for before losing writes.", shown="the name kubeadm gave"
    )
    control_plane: str = _key(
        DESTINATION, "local", 'The control plane through which every other node is found: "local" or user@host.'
    )
    node: str = _key(TEXT, "", "The name of that node in the cluster.", shown="found by asking the cluster")


@dataclass(frozen=True)
class SshSettings:
    """OpenSSH does the work: ~/.ssh/config, agents and jump hosts are honoured."""

    user: str = _key(USER, "root", "The user on nodes that are reached at their InternalIP.")
    identity_file: str = _key(
        FILE,
        "",
        "The private key.",
        sample='"~/.ssh/id_ed25519"',
        shown="what ssh itself uses",
    )
    options: tuple[str, ...] = _key(
        list_of('"Name=value"', kinds.ssh_option),
        (),
        "How ssh connects, with -o; host keys are checked whatever is said.",
        sample='["StrictHostKeyChecking=yes"]',
    )


@dataclass(frozen=True)
class VaultSettings:
    """Where bundles are kept on this machine, and where copies of them go."""

    path: Path = _key(PATH, _SET_BY_LOAD, "The vault on this machine.", shown="vault/ in the state directory")  # noqa: RUF009 - immutable
    keep_days: int = _key(at_least(1), 7, "Bundles younger than this many days are kept.")
    keep_last: int = _key(at_least(1), 3, "This many of the newest bundles are kept whatever their age.")
    offsite: tuple[str, ...] = _key(
        list_of("URLs: " + ", ".join(OFFSITE_SCHEMES), kinds.offsite_url),
        (),
        "Targets off the control plane; each copy is read back before the gate opens.",
        sample='["ssh://backup@nas/srv/etcd", "s3://bucket/etcd", "file:///mnt/nfs/etcd"]',
    )
    offsite_required: int = _key(at_least(1), 1, "How many of these copies must have read back equal.")
    offsite_read_back: str = _key(
        one_of("bytes", "digests"),
        "bytes",
        "How a copy over ssh is read back: its bytes come here, or the target computes their SHA-256 and is believed.",
    )
    recipients: tuple[str, ...] = _key(
        list_of("age or OpenSSH public keys", kinds.recipient),
        (),
        "Copies are encrypted for these public keys before they leave the vault; this machine cannot read them.",
        sample='["age1..."]',
    )
    identity_file: str = _key(
        Kind("absolute path", kinds.file),
        "",
        "The private key of one of them, mode 0600: for drills and restores from encrypted copies, kept elsewhere.",
        sample='"/media/key/etcd-backups.age"',
        shown="none",
    )
    allow_unencrypted_keys: bool = _key(
        kinds.YES_OR_NO,
        default=False,
        meaning="Without recipients copies carry the cluster's private keys and Secrets in the clear: true accepts it.",
    )
    s3_file: str = _key(
        Kind("absolute path", kinds.file),
        "",
        "How s3:// targets are reached, as for the AWS tools: aws_access_key_id, aws_secret_access_key, region, "
        "endpoint_url, ca_bundle, addressing_style; mode 0600.",
        sample='"/etc/upgrade-guard/s3"',
        shown="the environment, then ~/.aws",
    )
    separate_storage: tuple[str, ...] = _key(
        list_of("absolute paths", lambda value: str(kinds.path(value))),
        (),
        "Local paths whose storage survives the loss of this machine (SAN, DRBD), so that file:// below them counts.",
        sample='["/mnt/san"]',
    )


@dataclass(frozen=True)
class BackupSettings:
    """What is expected of backups, and who is told of them."""

    max_age: float = _key(
        DURATION_OR_NONE,
        0.0,
        "A newest proven snapshot that is older makes `backup status` end with exit 3.",
        sample='"26h"',
        shown="two hours more than the installed schedule's longest pause; without a schedule none",
    )
    metrics_dir: str = _key(
        FILE,
        "",
        "The textfile directory of node_exporter, where the figures for Prometheus are written after each backup.",
        sample='"/var/lib/prometheus/node-exporter"',
        shown="none are written",
    )


@dataclass(frozen=True)
class UpgradeSettings:
    """How an upgrade proceeds, and what answers a failure."""

    # Durations are texts in the file and seconds here.

    snapshot_max_age: float = _key(DURATION, 1800.0, "The gate closes on a proof that is older.")
    ignore_preflight_errors: tuple[str, ...] = _key(
        list_of("names of kubeadm preflight checks", kinds.preflight_name),
        (),
        "Handed to kubeadm; our own checks cannot be ignored.",
        sample='["CoreDNSUnsupportedPlugins"]',
    )
    patches: str = _key(
        kinds.NODE_PATH_OR_NONE,
        "",
        "Directory with kubeadm's patches (`--patches`) on every control plane, and on the workers that have it.",
        sample='"/etc/kubernetes/patches"',
    )
    pull_images: bool = _key(
        kinds.YES_OR_NO,
        default=True,
        meaning="The target's images that a control plane lacks are pulled before the gate; false: they must be there.",
    )
    drain_timeout: float = _key(DURATION, 300.0, "How long pods of one node may take to leave.")
    drain_force: bool = _key(
        kinds.YES_OR_NO,
        default=False,
        meaning="A drain also evicts pods without a controller, which nobody makes again.",
    )
    drain_delete_emptydir: bool = _key(
        kinds.YES_OR_NO,
        default=True,
        meaning="A drain also evicts pods with an emptyDir, whose content is lost.",
    )
    max_unavailable: int = _key(at_least(1), 1, "How many workers are upgraded at the same time.")
    on_node_failure: str = _key(
        one_of("rollback-node", "pause", "rollback-cluster"),
        "rollback-node",
        "When a worker fails: put that worker back and ask, ask at once, or take the whole cluster back.",
    )
    on_verify_failure: str = _key(
        one_of("pause", "rollback-cluster"),
        "pause",
        "When the upgraded cluster differs from its baseline and serves: ask, or take it back.",
    )
    apply_timeout: float = _key(DURATION, 900.0, "How long `kubeadm upgrade apply` or `node` may take.")
    ready_timeout: float = _key(DURATION, 300.0, "How long a node, the API or etcd may take to be ready again.")
    settle_time: float = _key(
        DURATION, 6.0, "How long a control plane must stay well before the run goes on to the next step."
    )


@dataclass(frozen=True)
class RollbackSettings:
    """When a person is asked before everything is taken back, although the upgrade failed: while the API serves."""

    ask_beyond: float = _key(
        DURATION_OR_NONE, 1800.0, "Ask when the snapshot is older, so that more than this would be lost."
    )
    ask_beyond_revisions: int = _key(
        at_least(0), 0, "Ask when more revisions of etcd than this would be lost.", shown="their number does not matter"
    )


@dataclass(frozen=True)
class CanarySettings:
    """The pods and the service with which each node is seen to do something new."""

    namespace: str = _key(
        Kind("name of a namespace", kinds.namespace),
        "kube-system",
        "Where they are made: no policy may refuse them.",
    )
    image: str = _key(
        TEXT, "", "An image that sleeps and is on every node.", shown="the sandbox image of each node's runtime"
    )
    pull_secret: str = _key(TEXT, "", "The pull secret in that namespace which the image needs.", shown="none")
    labels: tuple[str, ...] = _key(
        list_of("labels", kinds.label), (), "Labels that policies ask for.", sample='["team=platform"]'
    )


@dataclass(frozen=True)
class AuditSettings:
    """What shows that history was not written anew."""

    signing_key: str = _key(
        FILE,
        "",
        "The ssh key that signs the head of history in each bundle: a private key without a passphrase, or the public "
        "one of a key in the agent.",
        sample='"/etc/upgrade-guard/history_ed25519"',
        shown="heads are not signed",
    )
    allowed_signers: str = _key(
        FILE,
        "",
        "Whose signatures `audit verify` accepts, as ssh-keygen reads it (ALLOWED SIGNERS).",
        sample='"/etc/upgrade-guard/allowed_signers"',
        shown="signatures are not looked at",
    )


@dataclass(frozen=True)
class Config:
    """Everything an operator may set. Build it with `load`; nodes carry the "*" entry's values already."""

    state_dir: Path = _key(  # noqa: RUF009 - immutable
        PATH,
        _SET_BY_LOAD,
        "Journal, logs and lock.",
        shown="/var/lib/upgrade-guard as root, else the XDG state directory",
    )
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    ssh: SshSettings = field(default_factory=SshSettings)
    nodes: Mapping[str, NodeSettings] = field(default_factory=dict)
    vault: VaultSettings = field(default_factory=VaultSettings)
    backup: BackupSettings = field(default_factory=BackupSettings)
    upgrade: UpgradeSettings = field(default_factory=UpgradeSettings)
    rollback: RollbackSettings = field(default_factory=RollbackSettings)
    canary: CanarySettings = field(default_factory=CanarySettings)
    audit: AuditSettings = field(default_factory=AuditSettings)

    def node(self, name: str) -> NodeSettings:
        """The settings of that node: its own entry over the "*" entry over kubeadm's defaults."""
        return self.nodes.get(name) or self.nodes.get("*") or NodeSettings()

    @property
    def journal_path(self) -> Path:
        """The SQLite file."""
        return self.state_dir / "journal.sqlite"

    @property
    def lock_path(self) -> Path:
        """The file whose lock a run holds."""
        return self.state_dir / "run.lock"

    @property
    def schedule_path(self) -> Path:
        """What is on record of the installed schedule."""
        return self.state_dir / "schedule.json"

    @property
    def programs_path(self) -> Path:
        """etcd's own programs, a directory for each version that was met."""
        return self.state_dir / "etcd"

    def log_path(self, run_id: str) -> Path:
        """Where every command of a run and its output are written."""
        return self.state_dir / "logs" / f"{run_id}.log"


@dataclass(frozen=True)
class Key:
    """One key of the schema, as validation, the sample and the reference see it."""

    name: str
    kind: Kind
    default: Any
    meaning: str
    sample: str = ""
    shown: str = ""


@dataclass(frozen=True)
class Table:
    """One table of the file; `name` is "" for the top, and "nodes.NAME" for the one that repeats."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


_NODE_KEYS = {
    "address": (DESTINATION, '"local" or user@host, for a node that is not reached at its InternalIP.'),
    "kubernetes_dir": (NODE_PATH, "Where kubeadm keeps its files."),
    "kubelet_dir": (NODE_PATH, "Where kubelet keeps its files."),
    "work_dir": (NODE_PATH, "Where upgrade-guard keeps its own files on the node."),
    "path": (TEXT, "PATH of every command on the node; empty leaves it alone."),
    "package_source": (NODE_PATH, "The apt source that names the Kubernetes package repository."),
    "kubelet_unit": (TEXT, "The systemd unit of kubelet."),
    "host_files": (
        list_of("absolute paths on that node", kinds.node_path),
        "Files and directories outside of the two directories that belong to the node's bundle when they exist.",
    ),
    "upgrade": (kinds.YES_OR_NO, "Whether a worker is upgraded; one that is left out is named, and stays as it is."),
    "drain": (kinds.YES_OR_NO, "Whether its pods leave before its kubelet is renewed."),
}


def _keys(schema: type) -> tuple[Key, ...]:
    return tuple(Key(f.name, default=f.default, **f.metadata) for f in dataclasses.fields(schema) if f.metadata)


SECTIONS: dict[str, type] = {
    "cluster": ClusterSettings,
    "ssh": SshSettings,
    "vault": VaultSettings,
    "backup": BackupSettings,
    "upgrade": UpgradeSettings,
    "rollback": RollbackSettings,
    "canary": CanarySettings,
    "audit": AuditSettings,
}
NODE_TABLE = Table(
    "nodes.NAME",
    'How one node differs from what kubeadm sets up; NAME is its name in the cluster, or "*" for every node.',
    tuple(
        Key(f.name, _NODE_KEYS[f.name][0], f.default, _NODE_KEYS[f.name][1]) for f in dataclasses.fields(NodeSettings)
    ),
)
SCHEMA = (
    Table("", "At the top of the file, before the first table.", _keys(Config)),
    *(Table(name, (schema.__doc__ or "").strip(), _keys(schema)) for name, schema in SECTIONS.items()),
    NODE_TABLE,
)
