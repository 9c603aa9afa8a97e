"""How bash, zsh and fish ask what may follow on the command line, and are told.

Plan: click finds the candidates; the scripts and what goes between a script and us are our own.
Each candidate is a line: `word X`, `part X` (no space after it), `file` or `dir` (the shell's own
completion of paths). click's scripts take a word apart at its colons, as bash does, so that
`debian:12` was never completed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from click.shell_completion import ShellComplete, add_completion_class, split_arg_string

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VARIABLE = "_OVERLAYFS_PY_COMPLETE"  # derived from the program's name, by click
# A word may go on after one of these.
_OPEN_ENDS = ("/", "=", ":", ",")

# The command as it was typed, whose ~ bash leaves to us.
_BASH = """\
%(complete_func)s() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            word\\ *) COMPREPLY+=("${line#word }") ;;
            part\\ *) COMPREPLY+=("${line#part }"); compopt -o nospace ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done < <(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT COMP_WORDBREAKS=$COMP_WORDBREAKS \\
        %(complete_var)s=bash_complete "${1/#\\~/$HOME}" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
_ZSH = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local line
    local -a whole parts
    for line in "${(@f)$(COMP_WORDS="${(F)${(@Q)words[1,CURRENT-1]}}" COMP_CWORD="${(Q)PREFIX}" \\
            %(complete_var)s=zsh_complete "${words[1]/#\\~/$HOME}" 2>/dev/null)}"; do
        case $line in
            word\\ *) whole+=("${line#word }") ;;
            part\\ *) parts+=("${line#part }") ;;
            dir) _files -/ ;;
            file) compset -P '*[=:,]'; _files ;;
        esac
    done
    compadd -a whole
    compadd -S '' -a parts
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
_FISH = """\
function %(complete_func)s
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l begun (string match -r '^.*[=:,]' -- $current)
    set -l rest (string replace -r '^.*[=:,]' '' -- $current)
    set -l all (string join \\n -- $words | string collect)
    for line in (env COMP_WORDS="$all" COMP_CWORD="$current" \\
            %(complete_var)s=fish_complete $words[1] 2>/dev/null)
        switch $line
            case 'word *' 'part *'
                string sub -s 6 -- $line
            case dir
                __fish_complete_directories "$current"
            case file
                for path in (__fish_complete_path "$rest")
                    echo "$begun$path"
                end
        end
    end
end
complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class _Complete(ShellComplete):
    def get_completion_args(self) -> tuple[list[str], str]:
        """The words after the program's name, and the one that is being written."""
        words = os.environ["COMP_WORDS"].split("\n")
        current = split_arg_string(os.environ["COMP_CWORD"])
        return words[1:], current[0] if current else ""

    def format_completion(self, item: CompletionItem[str]) -> str:
        if item.type != "plain":
            return item.type
        kind = "part" if item.value.endswith(_OPEN_ENDS) else "word"
        return f"{kind} {self.rest(item.value)}"

    def rest(self, value: str) -> str:
        """What takes the place of the word that the shell completes."""
        return value


class Bash(_Complete):
    """bash takes what it completes from the line by its own rules: COMP_WORDBREAKS."""

    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        # COMP_POINT counts bytes.
        line = os.environb[b"COMP_LINE"][: int(os.environ["COMP_POINT"])].decode(errors="replace")
        words = split_arg_string(line)
        current = "" if line[-1:].isspace() and not line.endswith("\\ ") else words.pop()
        breaks = set(os.environ.get("COMP_WORDBREAKS", "")) & set("@:=")
        # Between quotes nothing breaks a word.
        typed = "" if line.rpartition(" ")[2].startswith(("'", '"')) else current
        self._kept = max((typed.rfind(mark) + 1 for mark in breaks), default=0)
        return words[1:], current

    def rest(self, value: str) -> str:
        return value[self._kept :]


class Zsh(_Complete):
    """zsh."""

    name = "zsh"
    source_template = _ZSH


class Fish(_Complete):
    """fish."""

    name = "fish"
    source_template = _FISH


SHELLS: dict[str, type[_Complete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def register() -> None:
    """Let click take these instead of its own."""
    for kind in SHELLS.values():
        add_completion_class(kind)
