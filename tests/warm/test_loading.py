"""What the warm process loads for all commands, none of which it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from overlayfs_py.warm import variables

_RECORDED = """
import json, os, threading
kind = type(os.environ)
asked = set()
get, listed = kind.__getitem__, kind.__iter__
kind.__getitem__ = lambda self, name: asked.add(name) or get(self, name)
kind.__iter__ = lambda self: asked.add("all of them") or listed(self)
from overlayfs_py.cli import warm_serve
warm_serve._load()
kind.__iter__ = listed
print(json.dumps([sorted(asked), threading.active_count(), os.listdir("/proc/self/fd")]))
"""


def test_no_module_remembers_what_differs_between_commands() -> None:
    """A variable that is read while a module is loaded must be one that is compared."""
    done = subprocess.run([sys.executable, "-c", _RECORDED], check=True, capture_output=True)
    asked, threads, descriptors = json.loads(done.stdout)

    names = {os.fsencode(name): b"" for name in asked}
    assert variables.fixed(names) == names
    assert asked  # gettext's
    assert threads == 1
    assert sorted(descriptors) == ["0", "1", "2", "3"]  # of which the last is of the listing
