"""The configuration: what is accepted, what is refused with which words, and where each value came from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from upgrade_guard.config import Config, Settings, candidate_paths, load
from upgrade_guard.config.kinds import duration
from upgrade_guard.config.schema import SCHEMA
from upgrade_guard.config.text import effective, reference_markdown, sample
from upgrade_guard.errors import ExitCode, UsageProblem
from upgrade_guard.model.node import NodeSettings

EXAMPLE = """
state_dir = "/srv/guard"

[cluster]
name = "prod"
control_plane = "root@10.0.0.11"

[ssh]
user = "admin"
identity_file = "~/.ssh/id_ed25519"
options = ["StrictHostKeyChecking=yes"]

[nodes."*"]
kubelet_dir = "/data/kubelet"

[nodes.w1]
address = "root@w1.internal"

[nodes.w2]
kubelet_dir = "/var/lib/kubelet"

[vault]
path = "/srv/vault"
keep_days = 14
offsite = ["ssh://backup@nas/srv/etcd", "file:///mnt/nfs/etcd"]
offsite_required = 2
separate_storage = ["/mnt/nfs"]

[upgrade]
snapshot_max_age = "45m"
drain_timeout = "90s"
max_unavailable = 2
on_node_failure = "pause"
ignore_preflight_errors = ["CoreDNSUnsupportedPlugins"]
"""


def read(tmp_path: Path, text: str, **options: object) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load(path, {"HOME": str(tmp_path)}, False, **options)  # type: ignore[arg-type]


def test_the_example_of_the_contract_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/operator")
    config = read(tmp_path, EXAMPLE).config
    assert config.cluster.control_plane == "root@10.0.0.11"
    assert config.ssh.identity_file == "/home/operator/.ssh/id_ed25519"
    assert config.vault.offsite == ("ssh://backup@nas/srv/etcd", "file:///mnt/nfs/etcd")
    assert config.vault.path == Path("/srv/vault")
    assert (config.upgrade.snapshot_max_age, config.upgrade.drain_timeout) == (2700.0, 90.0)
    assert config.upgrade.on_node_failure == "pause"
    assert config.upgrade.on_verify_failure == "pause"


def test_a_node_takes_what_it_does_not_say_from_the_entry_for_every_node(tmp_path: Path) -> None:
    config = read(tmp_path, EXAMPLE).config
    assert config.node("w1") == NodeSettings(address="root@w1.internal", kubelet_dir="/data/kubelet")
    assert config.node("w2").kubelet_dir == "/var/lib/kubelet", "its own value wins even where it is kubeadm's default"
    assert config.node("w3") == NodeSettings(kubelet_dir="/data/kubelet")
    assert Config().node("any") == NodeSettings()


@pytest.mark.parametrize(
    ("text", "key", "choices"),
    [
        ('stat_dir = "/x"', "stat_dir: unknown key", 'did you mean "state_dir"?'),
        ("state_dir = 3", "state_dir: give a text", "absolute path"),
        ('state_dir = "relative"', "state_dir: give an absolute path", "absolute path"),
        ('[vault]\nofsite = ["file:///a"]', "vault.ofsite: unknown key", 'did you mean "offsite"?'),
        ("[vault]\nkeep_days = 0", "vault.keep_days: give 1 or more", "whole number"),
        ("[vault]\nkeep_days = true", "vault.keep_days: give a whole number, not true or false", "whole number"),
        ("[vault]\nkeep_days = 1.5", "vault.keep_days: give a whole number, not a number", "whole number"),
        ('[vault]\noffsite = "file:///a"', "vault.offsite: give a list in brackets, not a text", "file://"),
        ('[vault]\noffsite = ["ftp://bucket"]', "vault.offsite: 'ftp://bucket' is not", "file://, ssh://, s3://"),
        ('[vault]\noffsite = ["s3://"]', "write s3://bucket/prefix", "s3://"),
        ('[vault]\noffsite = ["s3://key:secret@bucket/a"]', "carries no password", "s3://"),
        ('[vault]\noffsite = ["file://host/a"]', "write file:///absolute/path", "file://"),
        ('[vault]\noffsite = ["ssh://nas"]', "or ssh://user@host/absolute/path", "ssh://"),
        ('[vault]\noffsite = ["ssh://-oProxyCommand=x/a"]', "must not begin with", "ssh://"),
        ('[vault]\noffsite = ["ssh://u:secret@nas/a"]', "no password", "ssh://"),
        ('[vault]\nrecipients = ["age1qqq"]', "'age1qqq' is not a recipient", "age"),
        ('[vault]\nrecipients = ["AGE-SECRET-KEY-1QQQ"]', "that is a private key", "age"),
        ('[vault]\nallow_unencrypted_keys = "yes"', "give true or false without quotes, not a text", "true or false"),
        ('[vault]\noffsite = ["file:///a"]\noffsite_required = 2', "2 copies are required", "vault.offsite"),
        ('[vault]\noffsite = ["file:///a", "file:///a"]\noffsite_required = 2', "names 1 target", "vault.offsite"),
        ("[upgrade]\ndrain_timeout = 5", 'upgrade.drain_timeout: give a duration such as "90s"', "duration"),
        ('[upgrade]\ndrain_timeout = "0m"', "upgrade.drain_timeout", "duration"),
        ('[upgrade]\non_node_failure = "rollback"', 'one of: "rollback-node", "pause"', "rollback-cluster"),
        ('[upgrade]\non_verify_failure = "rollback-node"', 'one of: "pause", "rollback-cluster"', "pause"),
        ("[upgrade]\nmax_unavailable = -1", "upgrade.max_unavailable: give 1 or more", "whole number"),
        ('[upgrade]\nignore_preflight_errors = ["--force"]', "is not the name of a kubeadm preflight", "list"),
        ('[cluster]\ncontrol_plane = "-oProxyCommand=x"', "must not begin with", "user@host"),
        ('[cluster]\nname = "a\\u001b[31m"', "control characters", "text"),
        ('[ssh]\noptions = ["-v"]', 'write "Name=value"', "Name=value"),
        ('[ssh]\noptions = ["StrictHostKeyChecking=no"]', "host keys are always checked", "Name=value"),
        ("[ssh]\noptions = ['StrictHostKeyChecking=\"no\"']", "host keys are always checked", "Name=value"),
        ('[ssh]\noptions = ["KnownHostsCommand=/bin/x"]', "host keys are always checked", "Name=value"),
        ('[ssh]\noptions = ["ForwardAgent=yes"]', "the ssh option ForwardAgent cannot be set here", "Name=value"),
        ('[ssh]\nuser = "-oProxyCommand=x"', "must not begin with", "user name"),
        ('[cluster]\ncontrol_plane = "root@-oProxyCommand=x"', "must not begin with", "user@host"),
        ('[nodes.w1]\naddress = "root@$(id)"', "a host is letters, digits", "user@host"),
        ('[vault]\noffsite = ["ssh://root@-oProxyCommand=x/a"]', "must not begin with", "ssh://"),
        ('[nodes.w1]\nadress = "x"', "nodes.w1.adress: unknown key", 'did you mean "address"?'),
        ('[nodes.w1]\nkubernetes_dir = "etc"', "nodes.w1.kubernetes_dir: give an absolute path", "on that node"),
        ('[nodes."-w1"]\naddress = "x"', "nodes.-w1: not a node name", "kubectl"),
        ('[nodes."*"]\naddress = "x"', "nodes.*.address", "[nodes.NAME]"),
        ("nodes = 3", "nodes: a table is expected, not a number", "[nodes]"),
        ("[nodes]\nw1 = 3", "nodes.w1: a table is expected", "[nodes.w1]"),
        ('vault = "x"', "vault: a table is expected, not a text", "[vault]"),
        ("x =", "not a TOML file", "config init"),
        ("x = 1979-05-27", "x: unknown key", "state_dir"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_key_and_choices(
    tmp_path: Path, text: str, key: str, choices: str
) -> None:
    with pytest.raises(UsageProblem) as refused:
        read(tmp_path, text)
    assert refused.value.message.startswith(f"{tmp_path}/config.toml: ")
    assert key in refused.value.message
    assert choices in refused.value.hint
    assert refused.value.exit_code is ExitCode.USAGE
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(UsageProblem, match="it is larger than 1 MiB"):
        load(Path("/dev/zero"), {}, False)


def test_a_missing_named_file_is_refused_and_a_missing_default_is_not(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    with pytest.raises(UsageProblem, match="there is no such configuration file"):
        load(gone, {}, False)
    with pytest.raises(UsageProblem, match="there is no such configuration file"):
        load(None, {"UPGRADE_GUARD_CONFIG": str(gone)}, False)
    settings = load(None, {"HOME": str(tmp_path)}, False)
    assert settings.path is None
    assert set(settings.origins.values()) == {"default"}


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="cannot be read: Is a directory"):
        load(tmp_path, {}, False)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageProblem, match="not a TOML file"):
        load(binary, {}, False)


def test_the_file_is_found_in_the_home_directory(tmp_path: Path) -> None:
    own = candidate_paths({"HOME": str(tmp_path)})[-1]
    assert own == tmp_path / ".config" / "upgrade-guard" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[cluster]\nname = "mine"')
    settings = load(None, {"HOME": str(tmp_path)}, False)
    assert settings.path == own
    assert settings.origins["cluster.name"] == str(own)


def test_the_state_directory_is_flag_then_environment_then_file_then_default(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('state_dir = "/from/file"')
    environ = {"HOME": "/home/operator"}

    def chosen(config: Path | None, extra: dict[str, str], is_root: bool = False, flag: Path | None = None) -> str:
        settings = load(config, environ | extra, is_root, state_dir=flag)
        assert settings.config.vault.path == settings.config.state_dir / "vault"
        return f"{settings.config.state_dir} from {settings.origins['state_dir']}"

    variable = {"UPGRADE_GUARD_STATE_DIR": "/from/environment"}
    assert chosen(path, variable, flag=Path("/from/flag")) == "/from/flag from --state-dir"
    assert chosen(path, variable) == "/from/environment from UPGRADE_GUARD_STATE_DIR"
    assert chosen(path, {}) == f"/from/file from {path}"
    assert chosen(None, {}, is_root=True) == "/var/lib/upgrade-guard from default for root"
    assert chosen(None, {}) == "/home/operator/.local/state/upgrade-guard from default"
    assert chosen(None, {"XDG_STATE_HOME": "/xdg"}) == "/xdg/upgrade-guard from default"


def test_the_offsite_flag_stands_in_for_the_files_targets(tmp_path: Path) -> None:
    settings = read(tmp_path, '[vault]\noffsite = ["file:///a"]', offsite=("ssh://backup@nas/b",))
    assert settings.config.vault.offsite == ("ssh://backup@nas/b",)
    assert settings.origins["vault.offsite"] == "--offsite"
    with pytest.raises(UsageProblem, match=r"^--offsite: 'nas:/b' is not an off-site target"):
        read(tmp_path, "", offsite=("nas:/b",))


def test_the_sample_says_nothing_until_a_key_is_uncommented(tmp_path: Path) -> None:
    assert read(tmp_path, sample()).config == read(tmp_path, "").config


def test_every_example_in_the_sample_is_valid(tmp_path: Path) -> None:
    uncommented = re.sub(r"^# (?=\w+ = |\[)", "", sample(), flags=re.MULTILINE)
    examples = re.sub(r"^recipients = .*$", "", uncommented, flags=re.MULTILINE)
    settings = read(tmp_path, examples)
    named = {
        f"{table}.{key}" for table, keys in tomllib.loads(examples).items() if table != "state_dir" for key in keys
    }
    schema = {f"{table.name}.{key.name}" for table in SCHEMA[1:-1] for key in table.keys} - {"vault.recipients"}
    assert named - {"nodes.w1"} == schema
    assert settings.config.node("w1").address == "root@w1.internal"


def test_the_effective_values_read_back_as_they_are(tmp_path: Path) -> None:
    settings = read(tmp_path, EXAMPLE)
    values = effective(settings.config)
    assert values["upgrade.snapshot_max_age"] == '"45m"'
    assert values["upgrade.drain_timeout"] == '"90s"'
    lines = []
    for key, value in values.items():
        *table, name = re.findall(r"\*|[^.]+", key)
        lines.append(".".join([*(f'"{part}"' for part in table), name]) + f" = {value}")
    again = "\n".join(line for line in lines if not line.endswith('= ""'))
    assert read(tmp_path, again).config == settings.config


def test_the_reference_names_every_key_with_its_default() -> None:
    page = reference_markdown()
    for table in SCHEMA:
        for key in table.keys:
            assert f"| `{key.name}` |" in page
    assert "| `snapshot_max_age` | duration such as" in page
    assert '`"30m"`' in page
    assert "PosixPath" not in page
