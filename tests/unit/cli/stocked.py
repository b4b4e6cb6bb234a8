"""A vault, a target and a journal as months of backups leave them, without a cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from typer.testing import CliRunner
from unit.vault.builds import made_up_manifest, published
from unit.vault.media import LISTING, file_target, quiet

from upgrade_guard.cli.main import app
from upgrade_guard.journal import Journal
from upgrade_guard.model.run import CopyRecord, Event, Kind, Move, Outcome, ProofRecord, Record, SnapshotRecord, State
from upgrade_guard.model.step import Done, Step
from upgrade_guard.vault.bundle import Bundle, Vault


@dataclass
class Stocked:
    """`made` adds a backup of so many days ago; `guard` is an operator who types."""

    directory: Path
    keep_days: int = 7
    keep_last: int = 2
    more: str = ""

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def vault(self) -> Vault:
        return Vault(self.state_dir / "vault")

    @property
    def place(self) -> Path:
        return self.directory / "mnt" / "etcd"

    @property
    def url(self) -> str:
        return f"file://{self.place}"

    def configure(self) -> Path:
        path = self.directory / "config.toml"
        path.write_text(
            f'[cluster]\nname = "lab"\n[vault]\nkeep_days = {self.keep_days}\nkeep_last = {self.keep_last}\n'
            f'offsite = ["{self.url}"]\nallow_unencrypted_keys = true\n{self.more}'
        )
        return path

    def invoke(self, *words: str) -> Any:
        environ = {"HOME": str(self.directory), "UPGRADE_GUARD_STATE_DIR": str(self.state_dir)}
        return CliRunner().invoke(app, ["--config", str(self.configure()), *words], env=environ)

    def guard(self, *words: str, ends: int = 0) -> dict[str, Any]:
        """The whole JSON object of a command that ends so."""
        answered = self.invoke(*words, "--json")
        assert answered.exit_code == ends, answered.output
        return dict(json.loads(answered.stdout))

    def made(
        self, days: float, *, proven: bool = True, copied: bool = True, kind: Kind = Kind.BACKUP, open_: bool = False
    ) -> Bundle:
        """A backup of so many days ago, in the vault, at the target and on record."""
        at = datetime.now(UTC) - timedelta(days=days)
        run_id = f"run-{days:g}".replace(".", "-")
        manifest = made_up_manifest(run_id, taken_at=at, node_files={"cp1": LISTING})
        bundle = published(self.vault, manifest)
        records: list[Record] = [snapshot_record(bundle)]
        if proven:
            records.append(proof_record(bundle, at))
        if copied:
            self.place.parent.mkdir(exist_ok=True)
            location = file_target(self.place).copy(bundle, quiet).location
            records.append(CopyRecord(bundle.name, self.url, location, bundle.snapshot_sha256, True, True, at))
        with self.journal(at) as journal:
            self.begin(journal, run_id, kind)
            step = Step("snapshot/publish", "publish", lambda _: Done(), lambda _: None)
            attempt = journal.start(run_id, step)
            journal.conclude(run_id, step.name, attempt, Outcome.SUCCEEDED, records=records)
            if not open_:
                end = Event.BACKUP_KEPT if kind is Kind.BACKUP else Event.UPGRADE_CONFIRMED
                journal.move(run_id, Move(end, State.COMPLETED))
        return bundle

    def begin(self, journal: Journal, run_id: str, kind: Kind) -> None:
        """A run of that kind."""
        journal.begin(
            run_id=run_id,
            cluster="lab",
            from_version="v1.27.16",
            target="v1.28.0" if kind is Kind.UPGRADE else "",
            offsite_required=1,
            snapshot_max_age=1800,
            settings={},
            operator="ada",
            host="bastion",
            tool_version="0.1.0",
            kind=kind,
        )

    def journal(self, at: datetime | None = None) -> Journal:
        """For writing, as if it were that time."""
        return Journal.open(self.state_dir / "journal.sqlite", (lambda: at) if at else lambda: datetime.now(UTC))

    def here(self) -> set[str]:
        """What lies in the vault, whatever it is."""
        return {path.name for path in self.vault.path.iterdir()} if self.vault.path.exists() else set()

    def there(self) -> set[str]:
        """What lies at the target."""
        return {path.name for path in self.place.iterdir()} if self.place.exists() else set()


def snapshot_record(bundle: Bundle) -> SnapshotRecord:
    return SnapshotRecord(
        bundle=bundle.name,
        path=str(bundle.path),
        snapshot_sha256=bundle.snapshot_sha256,
        manifest_sha256=bundle.manifest_sha256,
        size=bundle.size,
        revision=bundle.manifest.revision,
        cluster_id=bundle.manifest.cluster_id,
        taken_at=bundle.manifest.taken_at,
    )


def proof_record(bundle: Bundle, at: datetime) -> ProofRecord:
    return ProofRecord(
        bundle=bundle.name,
        snapshot_sha256=bundle.snapshot_sha256,
        ok=True,
        revision=bundle.manifest.revision,
        hashkv=7,
        restore_seconds=2.5,
        proven_at=at,
    )
