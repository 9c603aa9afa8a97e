from __future__ import annotations

import stat

import pytest

from overlayfs_py.builds.failures import BadOption
from overlayfs_py.builds.modes import parse_mode

_FILE, _DIRECTORY = stat.S_IFREG, stat.S_IFDIR

# What it was, `--chmod`, what it becomes: as buildkitd makes it.
MODES = [
    (0o644, "0", 0),
    (0o644, "4711", 0o4711),
    (0o755, "u=rwX,go=rX", 0o755),
    (0o600, "u=rwX,go=rX", 0o644),
    (0o644, "a+x", 0o755),
    (0o644, "+x", 0o755),
    (0o777, "go-w,o-x", 0o754),
    (0o777, "u-X", 0o677),
    (0o640, "o=g", 0o644),
    (0o640, "g+u,o-g", 0o660),
    (0o6755, "u=rx", 0o2555),
    (0o6755, "=rx", 0o555),
    (0o6755, "u=g", 0o6555),
    (0o1777, "a=rX", 0o1555),
    (0o1777, "=t", 0o1777),
    (0o777, "o+t", 0o777),
    (0o777, "u+t", 0o1777),
    (0o777, "+t", 0o1777),
    (0o755, "u+s", 0o4755),
    (0o755, "o+s", 0o755),
    (0o755, "+s", 0o6755),
    (0o6755, "a-s", 0o755),
    (0o644, "u+x+w-r", 0o344),
    (0o644, "u=", 0o044),
]


@pytest.mark.parametrize(("before", "text", "after"), MODES)
def test_a_mode(before: int, text: str, after: int) -> None:
    assert oct(parse_mode(text).applied(_FILE | before)) == oct(after)


def test_a_large_x_is_for_directories_and_programs() -> None:
    mode = parse_mode("go=,a+X")

    assert mode.applied(_FILE | 0o644) == 0o600
    assert mode.applied(_FILE | 0o744) == 0o711
    assert mode.applied(_DIRECTORY | 0o600) == 0o711


@pytest.mark.parametrize("text", ["", "8", "17777", "rwx", "u", "u=q", "u+x,", "z+x", "u x"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(BadOption) as raised:
        parse_mode(text)

    assert str(raised.value).startswith(f"--chmod={text}: n")
