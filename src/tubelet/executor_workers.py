"""What processes of a ``ProcessPoolExecutor`` do first; those of ``worker_pool.py`` have a start of their own."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading


def follow_parent() -> None:
    """Leave Ctrl-C to the parent, and go when the parent is gone; the initializer of a process pool.

    Ctrl-C reaches every process of a terminal: a worker finishes what it is at, and the parent stops. A parent that is
    killed cannot tell its workers, which would wait for work for ever, or write into folders that a new run uses.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in workers only"

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # files are published by rename: nothing half-written gets a name

    threading.Thread(target=follow, daemon=True).start()
