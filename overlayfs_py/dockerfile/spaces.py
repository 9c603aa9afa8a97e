"""White space as Go knows it, in which every other reader of Dockerfiles is written."""

from __future__ import annotations

# unicode.IsSpace: fewer than str.isspace, which has the separators of ASCII too.
from overlayfs_py.late_import import late_pattern

SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# What stands between the words of an instruction.
BETWEEN_WORDS = late_pattern(r"[\t\v\f\r ]+")
