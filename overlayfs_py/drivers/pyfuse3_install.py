"""What brings pyfuse3, which is built where it is installed; `direct` does without it."""

from __future__ import annotations

HOW = "apt-get install gcc libc6-dev libfuse3-dev pkg-config python3-dev && pip install pyfuse3"
