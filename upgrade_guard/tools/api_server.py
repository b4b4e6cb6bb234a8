"""One API server and what only it can say of itself: whether it is ready, its version, what it was asked for.

A balancer or a virtual address answers with any server, old or new. So a question about one server goes to its own
address, and a question about the cluster goes through `Kubectl`, which has none of these.
"""

from __future__ import annotations

from upgrade_guard.errors import UnexpectedOutput
from upgrade_guard.hosts.base import Host
from upgrade_guard.model.command import Command
from upgrade_guard.model.version import Version
from upgrade_guard.tools.commands import failure, parse_json, reads
from upgrade_guard.tools.kubectl_objects import DeprecatedApi, parse_deprecated_apis
from upgrade_guard.tools.static_pod import parse_static_pod

DEFAULT_PORT = 6443  # of kubeadm (cmd/kubeadm/app/apis/kubeadm/v1beta4, defaults.go)
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - what --bind-address says for "on every address"


class ApiServer:
    """The API server at `url`, asked from `host` with the credentials of `kubeconfig`.

    Without a `url` it is whatever answers at the server that the kubeconfig names: the cluster's endpoint. Its
    certificate is always verified, for `tls_server_name` where that is given. `request_timeout` is in seconds.
    """

    def __init__(
        self, host: Host, kubeconfig: str, url: str = "", *, tls_server_name: str = "", request_timeout: int = 15
    ) -> None:
        self._host = host
        self._request_timeout = request_timeout
        words = (
            f"--kubeconfig={kubeconfig}",
            f"--server={url}" if url else "",
            f"--tls-server-name={tls_server_name}" if tls_server_name else "",
            f"--request-timeout={request_timeout}s",
        )
        self._argv = ("kubectl", *(word for word in words if word))

    def ready(self) -> bool:
        """Does it say that it is ready? A refusal and a timeout are a no. Raises HostUnreachable."""
        return self._host.run(self._command("/readyz")).ok

    def version(self) -> Version:
        """The version that it serves."""
        return parse_server_version(self._get("/version"))

    def deprecated_apis(self) -> tuple[DeprecatedApi, ...]:
        """The deprecated APIs that it was asked for since it started. Each server counts for itself."""
        return parse_deprecated_apis(self._get("/metrics"))

    def _get(self, path: str) -> str:
        command = self._command(path)
        result = self._host.run(command)
        if not result.ok:
            raise failure(self._host, command.argv, result, command.timeout)
        return result.stdout

    def _command(self, path: str) -> Command:
        return Command((*self._argv, "get", "--raw", path), timeout=float(self._request_timeout + 15))


@reads("kubectl get --raw /version")
def parse_server_version(text: str) -> Version:
    """The `gitVersion` of /version; a vendor's `+suffix` is left out."""
    document = parse_json("kubectl get --raw /version", text)
    return Version.parse(str(document["gitVersion"]).partition("+")[0])


def own_url(manifest: str, internal_ip: str = "") -> str:
    """Where the API server of this manifest is reached itself, past any balancer; "" when it cannot be told.

    kubeadm puts the advertise address into the certificate (cmd/kubeadm/app/util/pkiutil, GetAPIServerAltNames), so
    that it can be verified there. A server that listens on one address alone is reached at no other.
    """
    try:
        flags = parse_static_pod(manifest, "kube-apiserver").flags
    except UnexpectedOutput:
        flags = {}
    listens = flags.get("bind-address", "")
    address = flags.get("advertise-address") or ("" if listens in _EVERYWHERE else listens) or internal_ip
    return url_of(address, flags.get("secure-port") or str(DEFAULT_PORT)) if address else ""


def url_of(address: str, port: int | str) -> str:
    """`https://ADDRESS:PORT`, with brackets around an IPv6 address."""
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"
