"""kubeadm: what its installed package can do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from upgrade_guard.lab import faults, releases
from upgrade_guard.lab.layout import load_settings
from upgrade_guard.lab.programs.entry import Failure, ProgramPlace, UnknownWords, Words, say, take_apart
from upgrade_guard.lab.records import read_record
from upgrade_guard.lab.simulation import opened

VALUES = (
    "-o",
    "--output",
    "--kubeconfig",
    "--ignore-preflight-errors",
    "--patches",
    "--config",
    "--unpacked",  # of the lab: the version of a kubeadm that was taken out of its package and not installed
)


def main(place: ProgramPlace, words: list[str]) -> int:
    """`version`, `upgrade plan|apply|node`, `certs check-expiration`, `config images list|pull`."""
    given = take_apart(words, values=VALUES, switches=("--yes", "-y"))
    installed = read_record(place.layout, place.node).packages["kubeadm"]
    own = given.value("--unpacked") or releases.of_package(installed)
    output = given.value("-o", "--output")
    _check_kubeconfig(given)
    ignored = _ignored_checks(given)
    match given.plain:
        case ("version",) if output == "short":
            say(own)
        case ("version",) if not output:
            say(f'kubeadm version: &version.Info{{GitVersion:"{own}", Platform:"linux/amd64"}}')
        case ("upgrade", "plan", target):
            from upgrade_guard.lab import kubeadm_plan  # late, here and below: `version` is asked often

            return kubeadm_plan.plan(place, _version(target), own, ignored)
        case ("upgrade", "apply", target):
            if not given.switches & {"--yes", "-y"}:
                raise UnknownWords("upgrade apply without --yes: the lab's kubeadm asks no questions")
            from upgrade_guard.lab import kubeadm_upgrade

            return kubeadm_upgrade.apply(place, _version(target), own, ignored)
        case ("upgrade", "node"):
            from upgrade_guard.lab import kubeadm_upgrade

            return kubeadm_upgrade.node(place, own, ignored)
        case ("certs", "check-expiration"):
            from upgrade_guard.lab import kubeadm_certificates

            return kubeadm_certificates.check(place, own, output)
        case ("config", "images", "list" | "pull" as verb):
            path = given.value("--config")
            version = _version(json.loads(Path(path).read_text())["kubernetesVersion"] if path else own)
            images = releases.images(version, load_settings(place.directory).etcd_version)
            if verb == "pull":
                return _pull(place, images)
            say("\n".join(images))
        case _:
            raise UnknownWords(" ".join(given.plain))
    return 0


def _pull(place: ProgramPlace, images: Iterable[str]) -> int:
    with opened(place.directory, node=place.node, reconcile=False) as lab:
        record = lab.records[place.node]
        for image in images:
            if image not in record.images and faults.is_on(place.directory, "image-missing"):
                raise Failure(f'failed to pull image "{image}": failed to resolve reference "{image}": not found')
            record.images = sorted({*record.images, image})
            say(f"[config/images] Pulled {image}")
    return 0


def _version(text: str) -> str:
    try:
        numbers = releases.numbers(text)
    except ValueError as error:
        raise Failure(f"{error}\n{releases.STACK}") from error
    if not releases.OLDEST <= numbers[1] <= releases.NEWEST:
        raise Failure(f"the lab knows Kubernetes 1.{releases.OLDEST} to 1.{releases.NEWEST} only, not {text}")
    return "v" + text.removeprefix("v")


def _ignored_checks(given: Words) -> frozenset[str]:
    """The names in --ignore-preflight-errors; kubeadm compares them without regard to case."""
    listed = given.values.get("--ignore-preflight-errors", ())
    return frozenset(name.strip().lower() for one in listed for name in one.split(",") if name.strip())


def _check_kubeconfig(given: Words) -> None:
    """--kubeconfig has to name a file."""
    path = given.value("--kubeconfig")
    if path and not Path(path).exists():
        raise Failure(
            f'couldn\'t create a Kubernetes client from file "{path}": stat {path}: no such file or directory'
        )
