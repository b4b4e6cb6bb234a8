"""Real certificates for a lab: the authorities, what kubeadm signs with them, and kubeconfigs.

kubeadm's names and usages (kubernetes.io, "PKI certificates and requirements"); P-256 keys, which are made at once.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)
AUTHORITY_LIFE = 3650 * DAY
LEAF_LIFE = 365 * DAY
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Leaf:
    """A certificate that kubeadm keeps. `file` is relative to the pki directory, or a kubeconfig's name."""

    name: str
    file: str
    authority: str
    common_name: str
    organization: str = ""
    server: bool = False
    client: bool = True

    @property
    def is_kubeconfig(self) -> bool:
        """Does it live inside a kubeconfig?"""
        return self.file.endswith(".conf")


# The first column is what `kubeadm certs check-expiration` calls them.
LEAVES = (
    Leaf("admin.conf", "admin.conf", "ca", "kubernetes-admin", "system:masters"),
    Leaf("apiserver", "apiserver", "ca", "kube-apiserver", server=True, client=False),
    Leaf("apiserver-etcd-client", "apiserver-etcd-client", "etcd/ca", "kube-apiserver-etcd-client"),
    Leaf(
        "apiserver-kubelet-client", "apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client", "system:masters"
    ),
    Leaf("controller-manager.conf", "controller-manager.conf", "ca", "system:kube-controller-manager"),
    Leaf("etcd-healthcheck-client", "etcd/healthcheck-client", "etcd/ca", "kube-etcd-healthcheck-client"),
    Leaf("etcd-peer", "etcd/peer", "etcd/ca", "NODE", server=True),
    Leaf("etcd-server", "etcd/server", "etcd/ca", "NODE", server=True),
    Leaf("front-proxy-client", "front-proxy-client", "front-proxy-ca", "front-proxy-client"),
    Leaf("scheduler.conf", "scheduler.conf", "ca", "system:kube-scheduler"),
)
# From 1.29 on, the break-glass kubeconfig; the lab writes it when an upgrade reaches that version.
ALL_LEAVES = (*LEAVES, Leaf("super-admin.conf", "super-admin.conf", "ca", "kubernetes-super-admin", "system:masters"))
# What every control plane has alike.
SHARED = (
    *(f"{name}.{end}" for name in ("ca", "etcd/ca", "front-proxy-ca") for end in ("crt", "key")),
    *("sa.key", "sa.pub"),
)
AUTHORITIES = {"ca": "kubernetes", "etcd/ca": "etcd-ca", "front-proxy-ca": "front-proxy-ca"}


def make_authorities(pki: Path) -> None:
    """The three authorities and the service account's key, kept where they are already there."""
    for file, common_name in AUTHORITIES.items():
        if (pki / f"{file}.crt").exists():
            continue
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            _builder(subject, subject, key, AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        _write(pki / f"{file}.key", _key_bytes(key), 0o600)
        _write(pki / f"{file}.crt", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
    if not (pki / "sa.key").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write(pki / "sa.pub", public, 0o600)
        _write(pki / "sa.key", _key_bytes(key), 0o600)


def make_client(pki: Path) -> None:
    """The certificate with which the lab itself speaks to etcd, as an API server."""
    leaf = next(leaf for leaf in LEAVES if leaf.name == "apiserver-etcd-client")
    if not (pki / f"{leaf.file}.crt").exists():
        certificate, key = _sign(pki, leaf, "", "127.0.0.1", AUTHORITY_LIFE)
        _write(pki / f"{leaf.file}.key", key, 0o600)
        _write(pki / f"{leaf.file}.crt", certificate, 0o644)


def issue(
    leaf: Leaf, kubernetes: Path, *, node: str, address: str, server: str, life: dt.timedelta = LEAF_LIFE
) -> None:
    """Sign a new certificate with a new key and put it in place; `life` may be negative, for one that has expired."""
    pki = kubernetes / "pki"
    certificate, key = _sign(pki, leaf, node, address, life, endpoint=urlsplit(server).hostname or "")
    if leaf.is_kubeconfig:
        user = leaf.common_name
        _write(kubernetes / leaf.file, kubeconfig(pki, user, server, certificate, key), 0o600)
    else:
        # The key first: a reader that sees the new certificate then also sees its key.
        _write(pki / f"{leaf.file}.key", key, 0o600)
        _write(pki / f"{leaf.file}.crt", certificate, 0o644)


def issue_kubelet(kubernetes: Path, authority_pki: Path, *, node: str, address: str, server: str) -> None:
    """kubelet.conf, which kubeadm leaves to kubelet's own rotation."""
    leaf = Leaf("kubelet.conf", "kubelet.conf", "ca", f"system:node:{node}", "system:nodes")
    certificate, key = _sign(authority_pki, leaf, node, address, LEAF_LIFE)
    _write(kubernetes / "kubelet.conf", kubeconfig(authority_pki, leaf.common_name, server, certificate, key), 0o600)


def kubeconfig(pki: Path, user: str, server: str, certificate: bytes, key: bytes) -> bytes:
    """A kubeconfig as kubeadm writes it."""

    def embedded(content: bytes) -> str:
        return base64.b64encode(content).decode()

    return f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {embedded((pki / "ca.crt").read_bytes())}
    server: {server}
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: {user}
  name: {user}@kubernetes
current-context: {user}@kubernetes
kind: Config
preferences: {{}}
users:
- name: {user}
  user:
    client-certificate-data: {embedded(certificate)}
    client-key-data: {embedded(key)}
""".encode()


def _sign(
    pki: Path, leaf: Leaf, node: str, address: str, life: dt.timedelta, endpoint: str = ""
) -> tuple[bytes, bytes]:
    """`endpoint` is the cluster's, for which the API server's certificate is valid too."""
    issuer = x509.load_pem_x509_certificate((pki / f"{leaf.authority}.crt").read_bytes())
    issuer_key = serialization.load_pem_private_key((pki / f"{leaf.authority}.key").read_bytes(), password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)  # noqa: S101  (made by make_authorities above)
    names = [x509.NameAttribute(NameOID.COMMON_NAME, node if leaf.common_name == "NODE" else leaf.common_name)]
    if leaf.organization:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, leaf.organization))
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [usage for usage, wanted in ((CLIENT, leaf.client), (SERVER, leaf.server)) if wanted]
    builder = (
        _builder(x509.Name(names), issuer.subject, key, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if leaf.server:
        hosts = [x509.DNSName(node), x509.DNSName("localhost")]
        addresses = {address, "127.0.0.1", "::1"}
        if leaf.name == "apiserver":
            addresses |= {endpoint} - {""}
            hosts += [x509.DNSName("kubernetes"), x509.DNSName("kubernetes.default.svc.cluster.local")]
        builder = builder.add_extension(
            x509.SubjectAlternativeName(
                [*hosts, *(x509.IPAddress(ipaddress.ip_address(one)) for one in sorted(addresses))]
            ),
            critical=False,
        )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), _key_bytes(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - (2 * LEAF_LIFE if life < dt.timedelta() else dt.timedelta(minutes=5)))
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=mode)
    beside.chmod(mode)
    beside.write_bytes(content)
    beside.replace(path)
