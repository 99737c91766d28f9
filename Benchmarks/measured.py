"""A process of its own, with the time and the memory that it took. Only the standard library is needed here."""

import os
import subprocess
import tempfile
import threading
import time


def run(arguments, limit=None):
    """A process to its end, or killed after `limit` seconds. Answers its exit code (-9: killed), standard output, standard error, wall and
    processor seconds, and peak memory in MB."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        timer = threading.Timer(limit, process.kill) if limit else None
        if timer:
            timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        if timer:
            timer.cancel()
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        text, message = output.read().decode(), errors.read().decode()
    return process.returncode, text, message, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
