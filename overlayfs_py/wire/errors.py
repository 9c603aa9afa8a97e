"""What is wrong with a message."""

from __future__ import annotations


class WireError(Exception):
    """Bytes that are no message of this protocol: the session cannot go on."""

    exit_code = 40
