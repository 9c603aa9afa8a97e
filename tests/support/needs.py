"""What tests need of the machine, by where they are."""

from __future__ import annotations

import os

# Pure: they need neither root nor /dev/fuse. `scripts/test --quick` runs these, and those below.
_NOTHING = (
    *("tests/wire/", "tests/image/", "tests/dockerfile/", "tests/advice/", "tests/tars/"),
    *("tests/layers/", "tests/test_layering.py", "tests/test_link_walk.py"),
    *("tests/test_terminal_text.py", "tests/test_security_page.py", "tests/test_skipping.py"),
)
# Owners, devices and marks are made by root alone.
_ROOT = ("tests/layers/test_conformance.py", "tests/tars/test_corpus.py", "tests/packs/")


def is_quick(test: str) -> bool:
    """Whether a test, by its id, needs no mount and takes no long time."""
    return test.startswith((*_NOTHING, *_ROOT))


def missing(test: str) -> str | None:
    """Return what a test needs and has not here: the reason to skip it."""
    if test.startswith(_NOTHING) and not test.startswith(_ROOT):
        return None
    if os.geteuid() != 0:
        return "needs root"
    if not is_quick(test) and not os.path.exists("/dev/fuse"):
        return "needs /dev/fuse"
    return None
