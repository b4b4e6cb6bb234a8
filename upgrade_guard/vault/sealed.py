"""What lies in the clear beside an encrypted copy: enough to list and choose, and the digests of the ciphertext."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from upgrade_guard.errors import Refused
from upgrade_guard.vault.age import SUFFIX
from upgrade_guard.vault.bundle import MANIFEST, PART, SNAPSHOT, Bundle, is_safe_name
from upgrade_guard.vault.manifest import FileEntry

SCHEMA = 1


@dataclass(frozen=True)
class Sealed:
    """One bundle, encrypted. `files` are the encrypted ones by their names; the digests named `*_sha256` are of the
    bundle itself, and say which one it is without telling what is in it.
    """

    name: str
    cluster: str
    run_id: str
    taken_at: datetime
    revision: int
    etcd_version: str
    kubernetes_version: str
    snapshot_sha256: str
    manifest_sha256: str
    manifest_size: int
    recipients: tuple[str, ...]
    files: Mapping[str, FileEntry]
    history_head: str = ""
    history_signature: str = ""
    schema: int = SCHEMA


def sealed_of(bundle: Bundle, recipients: Sequence[str], files: Mapping[str, FileEntry]) -> Sealed:
    """What is said of that bundle in the clear."""
    manifest = bundle.manifest
    return Sealed(
        name=bundle.name,
        cluster=manifest.cluster,
        run_id=manifest.run_id,
        taken_at=manifest.taken_at,
        revision=manifest.revision,
        etcd_version=manifest.etcd_version,
        kubernetes_version=manifest.kubernetes_version,
        snapshot_sha256=bundle.snapshot_sha256,
        manifest_sha256=bundle.manifest_sha256,
        manifest_size=bundle.manifest_size,
        recipients=tuple(recipients),
        files=files,
        history_head=manifest.history_head,
        history_signature=manifest.history_signature,
    )


def sealed_to_text(sealed: Sealed) -> str:
    """As JSON with sorted keys."""
    from upgrade_guard.model.codec import to_json  # late: cattrs is slow to import

    return json.dumps(to_json(sealed), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def sealed_from_bytes(content: bytes, where: str) -> Sealed:
    """Read `sealed.json`. Raises Refused when it is damaged, too new, or names files that no copy of ours has."""
    from upgrade_guard.model.codec import from_json  # late: cattrs is slow to import

    try:
        raw = json.loads(content)
        if not isinstance(raw["schema"], int) or raw["schema"] > SCHEMA:
            raise Refused(
                f"{where} was written by a newer upgrade-guard (schema {raw['schema']}, this one reads up to {SCHEMA})",
                hint="Use the upgrade-guard version that made this copy.",
            )
        sealed = from_json(Sealed, raw)
    except Refused:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{where} is damaged: {error}", hint="Use another copy of this bundle.") from error
    hostile = [name for name in sealed.files if not _ours(name)]
    missing = sorted({f"{SNAPSHOT}{SUFFIX}", f"{MANIFEST}{SUFFIX}"} - sealed.files.keys())
    if hostile or missing:
        what = f"names a file {hostile[0]!r}" if hostile else f"lacks {missing[0]!r}"
        raise Refused(
            f"{where} {what}: no copy of ours does", hint="Use another copy, and find out who wrote this one."
        )
    return sealed


def _ours(name: str) -> bool:
    return is_safe_name(name) and name.endswith(SUFFIX) and not name.removesuffix(SUFFIX).endswith(PART)
