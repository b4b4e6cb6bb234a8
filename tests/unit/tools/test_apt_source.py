from __future__ import annotations

import pytest

from upgrade_guard.model.version import Version
from upgrade_guard.tools.apt import copied, package_version, point_source_at

OLD, NEW = Version(1, 33, 13), Version(1, 34, 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("deb [trusted=yes] file:/repo/v1.33 ./\n", "deb [trusted=yes] file:/repo/v1.34 ./\n"),
        (
            "deb [signed-by=/k.gpg] https://pkgs.k8s.io/core:/stable:/v1.33/deb/ /\n",
            "deb [signed-by=/k.gpg] https://pkgs.k8s.io/core:/stable:/v1.34/deb/ /\n",
        ),
        (
            "Types: deb\nURIs: https://mirror.internal/k8s/v1.33/deb/\nSuites: /\n",
            "Types: deb\nURIs: https://mirror.internal/k8s/v1.34/deb/\nSuites: /\n",
        ),
        ("deb http://m/v1.33", "deb http://m/v1.34"),
        ("deb http://m/v1.330/deb /\n", "deb http://m/v1.330/deb /\n"),
        ("deb http://m/v1.33.13/deb /\n", "deb http://m/v1.33.13/deb /\n"),
        ("deb http://m/rev1.33/deb /\n", "deb http://m/rev1.33/deb /\n"),
        (
            "deb http://apt.kubernetes.io/ kubernetes-xenial main\n",
            "deb http://apt.kubernetes.io/ kubernetes-xenial main\n",
        ),
    ],
)
def test_only_the_minor_series_changes(before: str, after: str) -> None:
    assert point_source_at(before, OLD, NEW) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("deb [trusted=yes] file:/repo/v1.34 ./\n", "deb [trusted=yes] copy:/repo/v1.34 ./\n"),
        ("deb file:///repo/v1.34 /\n", "deb copy:///repo/v1.34 /\n"),
        ("Types: deb\nURIs:file:/repo\nSuites: ./\n", "Types: deb\nURIs:copy:/repo\nSuites: ./\n"),
        ("deb mirror+file:/etc/apt/mirrors ./\n", "deb mirror+file:/etc/apt/mirrors ./\n"),
        ("deb https://m/file:/v1.34 /\n# a file: of ours\n", "deb https://m/file:/v1.34 /\n# a file: of ours\n"),
    ],
)
def test_of_a_directory_of_the_node_apt_is_told_to_keep_a_copy(before: str, after: str) -> None:
    assert copied(before) == after


def test_pointing_back_gives_the_same_file() -> None:
    text = "# series\ndeb [signed-by=/k.gpg] https://pkgs.k8s.io/core:/stable:/v1.33/deb/ /\n"
    assert point_source_at(point_source_at(text, OLD, NEW), NEW, OLD) == text


def test_the_newest_revision_of_a_version_is_chosen() -> None:
    available = ("1.28.15-1.1", "1.28.14-1.1", "1.28.14-10.1", "1.28.14-2.1", "1.28.1-1.1")
    assert package_version(available, Version(1, 28, 14)) == "1.28.14-10.1"
    assert package_version(available, Version(1, 28, 1)) == "1.28.1-1.1"
    assert package_version(("1.28.0-00",), Version(1, 28, 0)) == "1.28.0-00"


def test_a_version_that_is_not_there_has_no_package() -> None:
    assert package_version(("1.28.15-1.1",), Version(1, 28, 1)) is None
    assert package_version((), Version(1, 28, 1)) is None
