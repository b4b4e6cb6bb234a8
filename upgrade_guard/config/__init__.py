"""The configuration: one schema as data, read from a TOML file, refused with file, key and the valid choices."""

from upgrade_guard.config.loading import Settings, candidate_paths, default_state_dir, load
from upgrade_guard.config.schema import (
    SCHEMA,
    AuditSettings,
    BackupSettings,
    ClusterSettings,
    Config,
    SshSettings,
    UpgradeSettings,
    VaultSettings,
)

__all__ = [
    "SCHEMA",
    "AuditSettings",
    "BackupSettings",
    "ClusterSettings",
    "Config",
    "Settings",
    "SshSettings",
    "UpgradeSettings",
    "VaultSettings",
    "candidate_paths",
    "default_state_dir",
    "load",
]
