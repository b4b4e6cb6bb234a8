"""What a bundle says about itself, as frozen values and as `manifest.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from upgrade_guard.errors import Refused
from upgrade_guard.model.etcd import Member, MemberHash

SCHEMA = 1
DESCRIPTION_LIMIT = 32 << 20  # bytes of manifest.json: some hundred thousand files


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle; `size` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class NodeFile:
    """One captured path on a node. `kind` is "file", "directory" or "link"; `sha256` is "" unless it is a file."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    sha256: str = ""
    link_to: str = ""


@dataclass(frozen=True)
class NodeFiles:
    """What was on one node, and what was not.

    `archive` is the file's name in the bundle. `watched` are the files and directories that were looked at, without
    what lies beneath `left_out`; `absent` are those that did not exist, so that a rollback can move aside what an
    upgrade adds. `manifests_dir` holds the static pods, which are put back last.
    """

    node: str
    archive: str
    manifests_dir: str
    present: tuple[NodeFile, ...]
    absent: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    holds: tuple[str, ...] = ()


@dataclass(frozen=True)
class BundleManifest:
    """Everything that is known of a snapshot. `files` is filled in by `Vault.publish`.

    `cluster_id` is decimal text, because it exceeds 2**53. `hash` is the one of `snapshot status`; `hashkv` is the
    live member's at the snapshot's revision, when it was read. `source_member` names the member that served it.
    `history_head` is the digest of the journal's newest row when the bundle was published: whoever writes history anew
    would have to change every copy too. `history_signature` is that of `audit.signing_key`, where one is configured.
    """

    cluster: str
    run_id: str
    taken_at: datetime
    revision: int
    hash: int
    cluster_id: str
    members: tuple[Member, ...]
    etcd_version: str
    kubernetes_version: str
    source_member: str
    hashkv: MemberHash | None = None
    node_files: Mapping[str, NodeFiles] = field(default_factory=dict)
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    host: str = ""
    tool_version: str = ""
    history_head: str = ""
    history_signature: str = ""
    schema: int = SCHEMA


def manifest_to_text(manifest: BundleManifest) -> str:
    """The manifest as JSON with sorted keys, so that equal manifests have equal digests."""
    from upgrade_guard.model.codec import to_json  # late: cattrs is slow to import

    return json.dumps(to_json(manifest), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def manifest_from_text(text: str, where: str) -> BundleManifest:
    """Read `manifest.json`; `where` names it for people. Raises Refused when it is damaged or too new."""
    from upgrade_guard.model.codec import Misfit, from_json  # late: cattrs is slow to import

    try:
        raw = json.loads(text)
        schema = raw["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{where} is not a bundle manifest: {error}", hint="Use another copy of this bundle.") from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise Refused(
            f"{where} was written by a newer upgrade-guard (schema {schema}, this one reads up to {SCHEMA})",
            hint="Use the upgrade-guard version that made this bundle.",
        )
    try:
        return from_json(BundleManifest, raw)
    except Misfit as error:
        raise Refused(f"{where} does not fit its schema: {error}", hint="Use another copy of this bundle.") from error


def too_large(where: str) -> Refused:
    """The error for a description of a bundle that is larger than any of ours."""
    return Refused(
        f"{where} is larger than {DESCRIPTION_LIMIT >> 20} MiB: none of ours is",
        hint="Use another copy of this bundle, and find out who wrote this one.",
    )
