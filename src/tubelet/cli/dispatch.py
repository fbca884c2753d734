"""Find the command that the words of a command line name, call it, and turn mistakes into one line."""

import errno
import inspect
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from tubelet.cli import (
    building,
    choosing,
    corpus,
    data,
    evaluate_run,
    rendering,
    report,
    score_files,
    score_predictions,
    serve,
    studies,
    training,
    using,
    weights,
)
from tubelet.cli.options import call_with_options
from tubelet.types import InputError, OtherRankError, did_you_mean

SECONDS_TO_SPEAK = 5.0
GOES_ON = (
    *("demo", "playground build", "corpus build", "corpus dedup", "data verify"),
    *("weights fetch", "study run", "study cofinetuning", "probe", "sweep"),
)
"""Commands that begin where they were stopped when they are given again; a training run says so itself."""

COMMANDS: Mapping[str, Any] = {
    "demo": rendering.demo,
    "playground": {"build": rendering.playground_build},
    "corpus": {
        "labels": corpus.corpus_labels,
        "build": building.corpus_build,
        "subset": corpus.corpus_subset,
        "lengths": corpus.corpus_lengths,
        "dedup": building.corpus_dedup,
        "overlap": corpus.corpus_overlap,
        "spread": corpus.corpus_spread,
    },
    "data": {
        "import": data.import_source,
        "detect": data.detect,
        "add-boxes": data.add_boxes,
        "info": data.info,
        "verify": data.verify,
        "explain": data.explain,
        "shard": data.shard,
    },
    "weights": {
        "list": weights.list_weights,
        "fetch": weights.fetch,
        "convert": weights.convert,
        "check": weights.check,
    },
    "train": training.train,
    "sweep": choosing.sweep,
    "study": {
        "list": studies.study_list,
        "show": studies.study_show,
        "run": studies.study_run,
        "merge": studies.study_merge,
        "report": studies.study_report,
        "cofinetuning": studies.study_cofinetuning,
    },
    "evaluate": evaluate_run.evaluate,
    "probe": choosing.probe,
    "score": score_predictions.score,
    "report": report.report,
    "epic-eval": score_predictions.epic_eval,
    "ava-eval": score_files.ava_eval,
    "tube-eval": score_files.tube_eval,
    "localise": using.localise,
    "search": using.search,
    "export": using.export,
    "classify": using.classify,
    "serve": serve.serve,
    "label": serve.label,
    "recipes": training.recipes,
    "info": using.info,
}
"""Groups of commands and functions. A function's parameters are its options; one that takes the list ``arguments``
reads them itself, because its options depend on its first word."""


STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)
"""What a write into an open file fails with; then the error does not know the file's name."""


def run(arguments: list[str]) -> None:
    """Find the command that ``arguments`` name and call it with the rest."""
    commands: Mapping[str, Any] = COMMANDS
    prog = "tubelet"
    while True:
        if not arguments or arguments[0] in ("-h", "--help"):
            _print_help(commands, prog)
            return
        name, arguments = arguments[0], arguments[1:]
        if name not in commands:
            raise InputError(f"{prog} has no command {name!r}{did_you_mean(name, commands)}; {prog} --help lists them")
        prog = f"{prog} {name}"
        command = commands[name]
        if not isinstance(command, Mapping):
            if list(inspect.signature(command).parameters) == ["arguments"]:
                command(arguments)
            else:
                call_with_options(command, arguments, prog)
            return
        commands = command


def main() -> None:
    """Run ``tubelet``: mistakes are one line on standard error and exit status 2.

    Of the processes that ``torchrun`` starts the first shows results, and the first on each host its mistakes.
    """
    with ExitStack() as stack:
        if os.environ.get("RANK", "0") != "0":
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        status = _status()
    if status == 2 and os.environ.get("RANK", "0") != "0":
        # torchrun ends all as soon as one has ended, so the one that says why must come first.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(2))
        time.sleep(SECONDS_TO_SPEAK)
    if status:
        sys.exit(status)


def _status() -> int:
    """Run the command line and return its exit status, having said what went wrong."""
    try:
        run(sys.argv[1:])
    except SystemExit as stop:  # of the option parser, which has said why
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except OtherRankError:
        return 2
    except InputError as error:
        _tell(str(error))
        return 2
    except BrokenPipeError:
        # `tubelet info ... | head` is no error; the interpreter must not flush into the closed pipe when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ConnectionError as error:
        # Another process of the run is gone; each says so, for which one it was nobody knows.
        print(f"tubelet: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except OSError as error:
        # A folder that cannot be written, a full disk: whatever was being written has a temporary name.
        if error.filename is None and error.errno not in STORAGE_ERRORS:
            raise
        _tell(str(error.strerror) if error.filename is None else f"{error.filename}: {error.strerror}")
        return 2
    except FloatingPointError as error:
        _tell(str(error))
        return 2
    except KeyboardInterrupt as interrupt:
        # A stopped training run says itself how far it got and which signal it was.
        goes_on = " ".join([*sys.argv[1:3], ""]).startswith(tuple(f"{words} " for words in GOES_ON))
        _tell(str(interrupt) or ("stopped; the same command goes on from here" if goes_on else "stopped"))
        return int(getattr(interrupt, "exit_status", 130))
    return 0


def _speaks() -> bool:
    """Return whether this process says what went wrong: of those that ``torchrun`` started on a host, the first."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _tell(text: str) -> None:
    if _speaks():
        print(f"tubelet: {' '.join(text.split())}", file=sys.stderr)


def _print_help(commands: Mapping[str, Any], prog: str) -> None:
    print(f"usage: {prog} COMMAND [options]        ({prog} COMMAND --help says more)\n")
    for name, command in commands.items():
        what = " | ".join(command) if isinstance(command, Mapping) else training.summary(command)
        print(f"  {name:12} {what}")
