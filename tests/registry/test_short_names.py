"""What a name without a host means, as registries.conf has it."""

from __future__ import annotations

import pytest

from overlayfs_py.registry.configuration import read_configuration
from overlayfs_py.registry.errors import Refused
from overlayfs_py.registry.short_names import candidates

DIGEST = "sha256:" + "0" * 64
ALIASES = '[aliases]\n"app" = "quay.io/team/app"\n"team/tool" = "ghcr.io/tool"\n'
SEARCH = 'unqualified-search-registries = ["docker.io", "localhost:5000"]\n'
ENFORCING = 'short-name-mode = "enforcing"\n'
DISABLED = 'short-name-mode = "disabled"\n'
CASES = {
    "nothing said": ("", "app", ["docker.io/library/app"]),
    "a host": (SEARCH + ALIASES, "localhost/app:1", ["localhost/app:1"]),
    "an alias": (ALIASES, "app", ["quay.io/team/app"]),
    "an alias and a tag": (SEARCH + ALIASES, "app:1", ["quay.io/team/app:1"]),
    "an alias and a digest": (ALIASES, f"app:1@{DIGEST}", [f"quay.io/team/app:1@{DIGEST}"]),
    "an alias with a slash": (ALIASES, "team/tool", ["ghcr.io/tool"]),
    "no alias of a component": (ALIASES, "team/app", ["docker.io/team/app"]),
    "registries to search": (SEARCH, "app:1", ["docker.io/library/app:1", "localhost:5000/app:1"]),
    "aliases disabled": (
        DISABLED + SEARCH + ALIASES,
        "app",
        ["docker.io/library/app", "localhost:5000/app"],
    ),
    "one to search, enforced": (
        ENFORCING + 'unqualified-search-registries = ["quay.io"]',
        "app",
        ["quay.io/app"],
    ),
}


@pytest.mark.parametrize(("text", "name", "meant"), CASES.values(), ids=CASES.keys())
def test_a_short_name_means(tmp_path, text: str, name: str, meant: list[str]) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(text)

    found = candidates(read_configuration([path]), name)

    assert [each.canonical for each in found] == meant


def test_of_several_one_has_to_be_chosen_where_that_is_enforced(tmp_path) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(ENFORCING + SEARCH)

    with pytest.raises(Refused, match="one of app:1, localhost:5000/app:1: say which"):
        candidates(read_configuration([path]), "app:1")


def test_a_later_file_replaces_the_registries_to_search(tmp_path) -> None:
    (tmp_path / "1.conf").write_text(SEARCH + ENFORCING)
    (tmp_path / "2.conf").write_text('unqualified-search-registries = ["quay.io"]')

    found = candidates(read_configuration([tmp_path / "1.conf", tmp_path / "2.conf"]), "app")

    assert [each.canonical for each in found] == ["quay.io/app"]
