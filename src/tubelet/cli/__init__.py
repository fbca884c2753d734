"""The command line: every command is a thin call of a public function, with the same words.

Modules are imported inside the commands, so that ``tubelet --help`` answers at once.
"""

from tubelet.cli.dispatch import COMMANDS, main

__all__ = ["COMMANDS", "main"]
