"""The two sides of a push have TLS switches of their own."""

from __future__ import annotations

import pytest

from overlayfs_py.cli.push import options_for_target
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.registry.client import ClientOptions

TARGET = parse_reference("target.example:5000/team/app:1")


@pytest.mark.parametrize("told", [True, False])
def test_tls_verify_is_for_the_target(told: bool) -> None:
    options = options_for_target(ClientOptions(tls_verify=None), TARGET, told)

    assert options.tls_verify_of("target.example:5000") is told
    assert options.tls_verify_of("source.example") is None
    assert options.tls_verify_of("target.example") is None


@pytest.mark.parametrize("domain", ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_a_source_on_this_machine_is_as_the_target(domain: str) -> None:
    assert options_for_target(ClientOptions(), TARGET, False).tls_verify_of(domain) is False


def test_nothing_said_is_as_the_files_say() -> None:
    options = options_for_target(ClientOptions(tls_verify=False), TARGET, None)

    assert options.tls_verify_of("target.example:5000") is None
    assert options.tls_verify is False
