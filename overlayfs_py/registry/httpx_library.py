"""httpx without its command line.

`import httpx` loads that as well where click, rich and pygments are there, which they are with us:
a third of the start of a pull. Where it cannot be loaded, httpx goes without (httpx/__init__.py).
"""

from __future__ import annotations

import sys

_COMMAND_LINE = "httpx._main"

if "httpx" in sys.modules:
    import httpx
else:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment] # importing it fails
    try:
        import httpx
    finally:
        del sys.modules[_COMMAND_LINE]

__all__ = ["httpx"]
