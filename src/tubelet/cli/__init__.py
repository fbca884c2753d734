"""The command line: every command is a thin call of a public function, with the same words.

Modules are imported inside the commands, so that ``tubelet --help`` answers at once.
"""

import os

# Threads of a tensor operation that are done spin for the others, on cores that the loader's workers and whatever else
# runs here could have; asleep they let training be faster (docs/log.md has the numbers). torch reads this when it is
# imported; what the user has set stays.
if "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tubelet.cli.dispatch import COMMANDS, main

__all__ = ["COMMANDS", "main"]
