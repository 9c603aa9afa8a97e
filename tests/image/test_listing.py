from __future__ import annotations

import json

import pytest

from overlayfs_py.image import history, listing
from overlayfs_py.image.config import HistoryEntry, build_config
from overlayfs_py.image.digest import digest_of, hex_of
from overlayfs_py.image.layer_tree import Stacked, draw_forest, draw_stack
from overlayfs_py.image.listing import Listed, image_rows
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.tables import format_rows
from overlayfs_py.image.templates.errors import ExecutionError, TemplateError

A, B, C = digest_of(b"a"), digest_of(b"b"), digest_of(b"c")
_SECOND_NS = 1_000_000_000
NOW_NS = 1_700_000_000 * _SECOND_NS
_HOUR_NS = 3600 * _SECOND_NS


def listed(*names: str, digests: tuple[str, ...] = (), created_ns: int | None = None) -> Listed:
    return Listed(A, names, digests, created_ns, 211_500_000, 11_500_000)


def shown(*images: Listed, form: str = listing.TABLE, digests: bool = False) -> list[str]:
    rows = image_rows(images, NOW_NS, digests=digests, shorten=True)
    return format_rows(form, listing.COLUMNS, rows).splitlines()


def names(*images: Listed, digests: bool = False) -> list[str]:
    form = "{{.Repository}} {{.Tag}} {{.Digest}}"
    return shown(*images, form=form, digests=digests)


def test_the_table_is_docker_s() -> None:
    image = listed("docker.io/library/debian:12", created_ns=NOW_NS - 50 * _HOUR_NS)

    assert shown(image) == [
        "REPOSITORY   TAG       IMAGE ID       CREATED      SIZE",
        f"debian       12        {hex_of(A)[:12]}   2 days ago   212MB",
    ]


def test_a_table_without_rows_has_its_head() -> None:
    assert shown() == ["REPOSITORY   TAG       IMAGE ID   CREATED   SIZE"]


def test_each_tag_has_a_row() -> None:
    image = listed("h:5/a:1", "h:5/a:2", "docker.io/u/b:1", digests=(f"h:5/a@{B}",))

    assert names(image) == ["h:5/a 1 <none>", "h:5/a 2 <none>", "u/b 1 <none>"]


def test_with_digests_each_tag_has_a_row_for_each() -> None:
    image = listed("h:5/a:1", "h:5/b:1", digests=(f"h:5/a@{B}", f"h:5/a@{C}", f"h:5/d@{B}"))

    assert names(image, digests=True) == [
        f"h:5/a 1 {B}",
        f"h:5/a 1 {C}",
        "h:5/b 1 <none>",
        f"h:5/d <none> {B}",
    ]


def test_an_image_without_a_tag_is_none() -> None:
    assert names(listed()) == ["<none> <none> <none>"]
    assert names(listed(digests=(f"h:5/a@{B}", f"h:5/a@{C}"))) == ["h:5/a <none> <none>"]


def test_the_newest_image_comes_first() -> None:
    old, new = listed("h/old:1", created_ns=NOW_NS - 2), listed("h/new:1", created_ns=NOW_NS - 1)

    assert [line.split()[0] for line in names(old, listed("h/none:1"), new)] == [
        "h/new",
        "h/old",
        "h/none",
    ]


@pytest.mark.parametrize("created_ns", [None, 0, -62_135_596_800 * _SECOND_NS])
def test_an_image_that_says_no_date_has_none(created_ns: int | None) -> None:
    assert shown(listed(created_ns=created_ns), form="{{.CreatedSince}}") == ["N/A"]


def test_json_is_an_object_per_line_with_sorted_keys() -> None:
    (line,) = shown(listed("h/a:1", created_ns=NOW_NS), form="json")

    assert list(json.loads(line)) == sorted(listing.COLUMNS.headers)
    assert json.loads(line)["CreatedAt"] == "2023-11-14 22:13:20 +0000 UTC"
    assert (json.loads(line)["Size"], json.loads(line)["UniqueSize"]) == ("212MB", "200MB")


@pytest.mark.parametrize(
    "form",
    [
        *(listing.TABLE, listing.TABLE_WITH_DIGESTS, listing.IDS, "table {{.ID}}"),
        r"{{.ID}}\t{{.Tag}}",
    ],
)
def test_plain_fields_print_as_a_template_prints_them(form: str) -> None:
    image = listed("h/a:1", "h:5/a:2", created_ns=NOW_NS)

    # A comment, which prints nothing, needs the template engine.
    assert shown(image, form=form) == shown(image, form=form + "{{/* */}}")


def test_a_field_that_no_row_has_is_an_error() -> None:
    with pytest.raises(ExecutionError, match="Nonsense"):
        shown(listed(), form=r"{{.ID}}\t{{.Nonsense}}")


def test_a_template_after_the_word_table_has_a_head() -> None:
    form = r"table {{.ID | lower}}\t{{.Size | truncate 3}}{{/* */}}"
    with pytest.raises(ExecutionError, match="expected string; found 3"):
        shown(listed(), form=form)

    assert shown(listed(), form=r"table {{lower .ID}}\t{{truncate .Size 3}}") == [
        "IMAGE ID       SIZE",
        f"{hex_of(A)[:12]}   212",
    ]


def test_a_template_has_docker_s_escapes() -> None:
    assert shown(listed(), form=r"{{.Tag}}\t{{.Size}}\nx") == ["<none>\t212MB", "x"]


def test_a_column_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ExecutionError, match=r"field Foo in type \*formatter.imageContext"):
        shown(listed(), form="{{.Foo}}")
    with pytest.raises(TemplateError, match="unclosed action"):
        shown(form="{{.Foo")


def steps(*entries: HistoryEntry, layers: int, form: str = history.TABLE) -> list[str]:
    config = build_config(
        Platform("linux", "amd64"), [A] * layers, history=entries, created="2023-11-14T00:00:00Z"
    )
    sizes = [1000 * (at + 1) for at in range(layers)]
    rows = history.history_rows(config, sizes, NOW_NS, human=True, shorten=True)
    return format_rows(form, history.COLUMNS, rows).splitlines()


def test_history_shows_the_last_step_first_with_the_size_of_its_layer() -> None:
    found = steps(
        HistoryEntry("2023-11-14T22:13:10Z", "ADD rootfs"),
        HistoryEntry("2023-11-14T22:13:10Z", "ENV A=1\tB=2", empty_layer=True, comment="note"),
        HistoryEntry("1970-01-01T00:00:00Z", "RUN " + "x" * 50),
        layers=2,
        form="{{.CreatedSince}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}",
    )

    assert found == [
        f"N/A|RUN {'x' * 40}…|2kB|",
        "10 seconds ago|ENV A=1 B=2|0B|note",
        "10 seconds ago|ADD rootfs|1kB|",
    ]


def test_only_the_last_step_is_an_image() -> None:
    first, second = steps(HistoryEntry(), HistoryEntry(), layers=2, form="{{.ID}}")

    assert len(first) == listing.SHORT_ID
    assert second == "<missing>"


def test_layers_that_no_step_tells_of_are_the_oldest() -> None:
    assert steps(HistoryEntry(created_by="top"), layers=3, form="{{.Size}} {{.CreatedBy}}") == [
        "3kB top",
        "2kB ",
        "1kB ",
    ]


ONE = Stacked(("one:1",), ((A, 1000), (B, 2000)))
TWO = Stacked(("two:1", "two:2"), ((A, 1000), (B, 2000), (C, 3)))
OTHER = Stacked(("other:1",), ((B, 2000),))


def _layer(digest: str, rest: str) -> str:
    return f"{digest[7:19]} {rest}"


def test_images_with_the_same_base_stand_on_the_same_layers() -> None:
    assert draw_forest([ONE, TWO, OTHER]).splitlines() == [
        f"├── {_layer(A, '    1kB')}",
        f"│   └── {_layer(B, '    2kB  one:1')}",
        f"│       └── {_layer(C, '     3B  two:1, two:2')}",
        f"└── {_layer(B, '    2kB  other:1')}",
    ]


def test_the_layers_of_one_image_say_who_ends_in_them() -> None:
    assert draw_stack(TWO, [ONE, TWO, OTHER]).splitlines() == [
        f"├── {_layer(A, '    1kB')}",
        f"├── {_layer(B, '    2kB  one:1')}",
        f"└── {_layer(C, '     3B  two:1, two:2')}",
    ]
