"""Who runs a test of tests/life: root and an ordinary user, or one of them.

Both run what depends on who is root, of what, and whose files these are: starts and ends, mounts,
namespaces, owners, cgroups, terminals, kills, what is left. One runs what is the same code with the
same answer for both: words that are refused, what lists and formats show, exit codes, streams.
"""

from __future__ import annotations

import pytest

AS_ROOT = pytest.mark.parametrize("_engine", ["root"], indirect=True)
AS_USER = pytest.mark.parametrize("_engine", ["user"], indirect=True)
