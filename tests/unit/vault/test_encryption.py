"""What leaves the machine is encrypted for recipients, and only their private keys read it again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
from servers import program
from unit.vault.builds import made_up_manifest, published, snapshot_bytes
from unit.vault.media import LISTING, Ssh, quiet

from upgrade_guard.errors import Refused, StepFailed, UsageProblem
from upgrade_guard.hosts.transcript import SilentTranscript
from upgrade_guard.vault.age import read_identities
from upgrade_guard.vault.bundle import Bundle, Vault, examine
from upgrade_guard.vault.targets import Keys, Target, open_target


class Owner:
    """Somebody with a private key."""

    def __init__(self, directory: Path, name: str) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.recipient = str(identity.to_public())
        self.secret = str(identity)
        self.file = directory / f"{name}.key"
        self.file.write_text(f"# created: today\n# public key: {self.recipient}\n{self.secret}\n")
        self.file.chmod(0o600)


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path, "owner")


@pytest.fixture
def stranger(tmp_path: Path) -> Owner:
    return Owner(tmp_path, "stranger")


def target_of(place: Path, *recipients: str, identity: Path | str = "", allowed: bool = False) -> Target:
    keys = Keys(recipients, allowed, str(identity))
    place.parent.mkdir(exist_ok=True)
    return open_target(f"file://{str(place).replace(' ', '%20')}", ssh=Ssh(), transcript=SilentTranscript(), keys=keys)


def test_nothing_readable_leaves_and_the_owner_gets_all_of_it_back(
    bundle: Bundle, place: Path, owner: Owner, tmp_path: Path
) -> None:
    makes = target_of(place, owner.recipient)

    makes.copy(bundle, quiet)

    copy = place / bundle.name
    assert sorted(path.name for path in copy.iterdir()) == [
        "files-cp1.tar.gz.age",
        "manifest.json.age",
        "sealed.json",
        "snapshot.db.age",
    ]
    assert all(path.read_bytes().startswith(b"age-encryption.org/v1") for path in copy.glob("*.age"))
    assert b"files" in (copy / "sealed.json").read_bytes()
    assert b"/etc/kubernetes" not in (copy / "sealed.json").read_bytes()
    assert (
        makes.read_back(bundle) == makes.check(bundle.name) == makes.check(bundle.name, Vault(tmp_path / "vault")) == ()
    )
    (listed,) = makes.listing().copies
    assert listed.encrypted
    assert (listed.name, listed.cluster, listed.revision) == (bundle.name, "lab", 52)
    assert (listed.snapshot_sha256, listed.manifest_sha256) == (bundle.snapshot_sha256, bundle.manifest_sha256)

    got = target_of(place, identity=owner.file).fetch(bundle.name, Vault(tmp_path / "other"), quiet)

    assert got == replace(bundle, path=got.path)
    assert examine(got) == ()
    assert target_of(place, identity=owner.file).manifest(bundle.name) == bundle.manifest


def test_the_machine_that_makes_backups_cannot_read_them(bundle: Bundle, place: Path, owner: Owner) -> None:
    target = target_of(place, owner.recipient)
    target.copy(bundle, quiet)
    for call in (target.manifest, lambda name: target.fetch(name, Vault(place / "other"), quiet)):
        with pytest.raises(Refused, match="is encrypted, and no private key is named") as refused:
            call(bundle.name)
        assert "vault.identity_file" in refused.value.hint


def test_another_private_key_does_not_fit(
    bundle: Bundle, place: Path, owner: Owner, stranger: Owner, tmp_path: Path
) -> None:
    target_of(place, owner.recipient).copy(bundle, quiet)
    vault = Vault(tmp_path / "other")
    with pytest.raises(Refused, match=r"cannot be decrypted with .*stranger\.key") as refused:
        target_of(place, identity=stranger.file).fetch(bundle.name, vault, quiet)
    assert stranger.secret not in refused.value.message + refused.value.hint
    assert vault.bundles() == ()


@pytest.mark.parametrize("which", [0, 1])
def test_each_of_several_recipients_can_read(
    bundle: Bundle, place: Path, owner: Owner, stranger: Owner, tmp_path: Path, which: int
) -> None:
    target_of(place, owner.recipient, stranger.recipient).copy(bundle, quiet)
    identity = (owner, stranger)[which].file
    assert examine(target_of(place, identity=identity).fetch(bundle.name, Vault(tmp_path / "o"), quiet)) == ()


def test_an_openssh_key_is_a_recipient_too(bundle: Bundle, place: Path, tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    keygen = program("ssh-keygen", "openssh-client")
    subprocess.run((keygen, "-q", "-t", "ed25519", "-N", "", "-C", "me@home", "-f", str(key)), check=True, timeout=30)
    target_of(place, key.with_suffix(".pub").read_text().strip()).copy(bundle, quiet)
    assert examine(target_of(place, identity=key).fetch(bundle.name, Vault(tmp_path / "o"), quiet)) == ()


def test_in_the_clear_only_when_the_configuration_says_so(bundle: Bundle, place: Path) -> None:
    silent = target_of(place)
    assert "unencrypted" in silent.usable()[0]
    with pytest.raises(Refused, match="private keys and Secrets unencrypted") as refused:
        silent.copy(bundle, quiet)
    assert "vault.recipients" in refused.value.hint
    assert "vault.allow_unencrypted_keys = true" in refused.value.hint
    assert not place.exists()
    target_of(place, allowed=True).copy(bundle, quiet)
    assert (place / bundle.name / "snapshot.db").exists()


def test_a_copy_in_the_clear_is_replaced_by_an_encrypted_one(bundle: Bundle, place: Path, owner: Owner) -> None:
    target_of(place, allowed=True).copy(bundle, quiet)
    target = target_of(place, owner.recipient)
    assert "or is not encrypted" in target.read_back(bundle)[0]
    assert target.check(bundle.name, Vault(bundle.path.parent), bundle) == ()

    target.copy(bundle, quiet)

    assert target.read_back(bundle) == ()
    assert (place / f"{bundle.name}.differs-1" / "manifest.json").exists()


def test_an_equal_copy_is_left_alone_and_all_targets_get_the_same_bytes(
    bundle: Bundle, place: Path, owner: Owner, tmp_path: Path
) -> None:
    first, second = target_of(place, owner.recipient), target_of(tmp_path / "second", owner.recipient)
    first.copy(bundle, quiet)
    said: list[str] = []
    first.copy(bundle, said.append)
    assert said == []
    second.copy(bundle, quiet)
    ciphertexts = [(at / bundle.name / "snapshot.db.age").read_bytes() for at in (place, tmp_path / "second")]
    assert ciphertexts[0] == ciphertexts[1]


def test_the_ciphertext_goes_with_the_next_bundle_and_its_record_stays(
    bundle: Bundle, place: Path, owner: Owner, tmp_path: Path
) -> None:
    target = target_of(place, owner.recipient)
    target.copy(bundle, quiet)
    sealed = tmp_path / "vault" / "sealed"
    assert (sealed / bundle.name / "snapshot.db.age").exists()
    other = published(Vault(tmp_path / "vault"), made_up_manifest("r2"))

    target.copy(other, quiet)

    assert [path.name for path in (sealed / bundle.name).iterdir()] == ["sealed.json"]
    assert target.read_back(bundle) == ()
    third = target_of(tmp_path / "third", owner.recipient)
    third.copy(bundle, quiet)  # encrypted anew: other bytes, and both are known
    assert third.read_back(bundle) == target.read_back(bundle) == ()
    assert {path.stat().st_mode & 0o777 for path in sealed.rglob("*") if path.is_file()} == {0o600}
    assert [one.name for one in Vault(tmp_path / "vault").bundles()] == [bundle.name, other.name]


def test_other_recipients_mean_a_new_copy(bundle: Bundle, place: Path, owner: Owner, stranger: Owner) -> None:
    target_of(place, owner.recipient).copy(bundle, quiet)
    target = target_of(place, stranger.recipient)
    assert "encrypted for other recipients" in target.read_back(bundle)[0]
    assert target.check(bundle.name, Vault(bundle.path.parent), bundle) == ()  # whole it is, only not for today's
    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def forge(copy: Path) -> None:
    """Somebody with the public key alone makes a whole copy of something else."""
    recipient = pyrage.x25519.Identity.generate().to_public()
    (copy / "snapshot.db.age").write_bytes(pyrage.encrypt(b"other", [recipient]))
    text = (copy / "sealed.json").read_text()
    (copy / "sealed.json").write_text(text.replace('"revision": 52', '"revision": 53'))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda copy: flip(copy / "snapshot.db.age"), "snapshot.db.age has another SHA-256"),
    "cut": (lambda copy: os.truncate(copy / "snapshot.db.age", 300), "snapshot.db.age has 300 bytes instead of"),
    "deleted": (lambda copy: (copy / "manifest.json.age").unlink(), "lacks manifest.json.age"),
    "unpublished": (lambda copy: (copy / "sealed.json").unlink(), "is missing"),
    "gone": (shutil.rmtree, "is missing"),
    "forged": (forge, "sealed.json is not one that this machine wrote"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_changed_later_is_found_without_a_private_key(
    bundle: Bundle, place: Path, owner: Owner, tmp_path: Path, damage: str
) -> None:
    target = target_of(place, owner.recipient)
    target.copy(bundle, quiet)
    harm, sentence = DAMAGES[damage]
    harm(place / bundle.name)

    assert sentence in target.read_back(bundle)[0]
    assert target.check(bundle.name, Vault(tmp_path / "vault")) != ()
    if damage != "unpublished":
        with pytest.raises((Refused, StepFailed)):
            target_of(place, identity=owner.file).fetch(bundle.name, Vault(tmp_path / "other"), quiet)
        assert Vault(tmp_path / "other").bundles() == ()
    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()


def test_a_lost_record_means_a_new_copy(bundle: Bundle, place: Path, owner: Owner, tmp_path: Path) -> None:
    target = target_of(place, owner.recipient)
    target.copy(bundle, quiet)
    shutil.rmtree(tmp_path / "vault" / "sealed")
    assert "not one that this machine wrote" in target.read_back(bundle)[0]
    target.copy(bundle, quiet)
    assert target.read_back(bundle) == ()


def test_a_bundle_that_changed_here_is_not_encrypted(bundle: Bundle, place: Path, owner: Owner) -> None:
    bundle.snapshot.write_bytes(snapshot_bytes(4096))
    with pytest.raises(StepFailed, match=r"snapshot\.db is not what its manifest says"):
        target_of(place, owner.recipient).copy(bundle, quiet)
    assert not place.exists()


def test_a_manifest_within_that_was_exchanged_is_noticed(
    bundle: Bundle, place: Path, owner: Owner, tmp_path: Path
) -> None:
    """An attacker who knows the public key and rewrites what lies in the clear to fit, all but one digest."""
    import hashlib
    import json

    target_of(place, owner.recipient).copy(bundle, quiet)
    copy = place / bundle.name
    forged = pyrage.encrypt(b"{}", [pyrage.x25519.Recipient.from_str(owner.recipient)])
    (copy / "manifest.json.age").write_bytes(forged)
    sealed = json.loads((copy / "sealed.json").read_text())
    sealed["files"]["manifest.json.age"] = {"sha256": hashlib.sha256(forged).hexdigest(), "size": len(forged)}
    (copy / "sealed.json").write_text(json.dumps(sealed))

    with pytest.raises(Refused, match="its manifest is not the one that was encrypted"):
        target_of(place, identity=owner.file).fetch(bundle.name, Vault(tmp_path / "other"), quiet)


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        ("", 0o600, "holds no identity of age"),
        ("AGE-SECRET-KEY-1HUSH", 0o600, "holds no identity of age"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n", 0o600, "holds no identity of age"),
        ("\udcff", 0o600, "holds no identity of age"),
        ("AGE-SECRET-KEY-1HUSH", 0o640, "others may read"),
    ],
)
def test_an_identity_file_that_does_not_do(tmp_path: Path, content: str, mode: int, sentence: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content.encode(errors="surrogateescape"))
    path.chmod(mode)
    with pytest.raises(UsageProblem, match=sentence) as refused:
        read_identities(str(path))
    assert "hush" not in (refused.value.message + refused.value.hint).lower()
    with pytest.raises(UsageProblem, match="cannot be read"):
        read_identities(str(tmp_path / "none"))


def test_a_recipient_that_is_none_is_named_before_anything_is_copied(bundle: Bundle, place: Path) -> None:
    target = target_of(place, "age1" + "q" * 58)
    assert "is not a recipient" in target.usable()[0]
    with pytest.raises(UsageProblem, match="is not a recipient"):
        target.copy(bundle, quiet)


def test_a_disk_that_fills_up_while_encrypting(owner: Owner, place: Path, tmp_path: Path) -> None:
    """A file size limit stands for a full disk: the kernel refuses the write in the same way."""
    import resource
    import signal

    large = published(Vault(tmp_path / "v"), made_up_manifest(node_files={"cp1": LISTING}), snapshot_bytes(1 << 20))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(StepFailed, match=r"Encrypting snapshot.db failed at .*File too large"):
            target_of(place, owner.recipient).copy(large, quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not place.exists()
    target_of(place, owner.recipient).copy(large, quiet)
