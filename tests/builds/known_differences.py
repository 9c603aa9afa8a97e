"""What other builders do otherwise, and why ours does not do as they do."""

from __future__ import annotations

import re
from typing import NamedTuple


class Known(NamedTuple):
    """Lines of a comparison that have one reason."""

    builder: str
    case: str  # patterns for the whole text
    line: str
    why: str

    def fits(self, builder: str, case: str, line: str) -> bool:
        return (
            self.builder == builder
            and re.fullmatch(self.case, case) is not None
            and re.fullmatch(self.line, line, re.DOTALL) is not None
        )


KNOWN: tuple[Known, ...] = ()
