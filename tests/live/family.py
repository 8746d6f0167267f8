"""A service with a child, for tests of what is left when the main process has gone.

    family.py JOURNAL KIND MANNER [MAIN]

KIND of the child: group (a plain fork), setsid, orphan (double-forked and setsid). MANNER on SIGTERM:
ignore, or obey: it exits. MAIN exits on SIGTERM (`exits`), or does as the child does (`likewise`).

Each writes down who it is and what it heard, stamped with CLOCK_BOOTTIME, in JSON Lines. None outlives
a minute.
"""
import json
import os
import signal
import sys
import time

journal, kind, manner = sys.argv[1:4]
main_manner = "obey" if sys.argv[4:] != ["likewise"] else manner


def write(role, event):
    line = json.dumps({"role": role, "event": event, "pid": os.getpid(),
                       "boot": time.clock_gettime(time.CLOCK_BOOTTIME)})
    out = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(out, line.encode() + b"\n")
    os.close(out)


def live(role, how):
    def heard(*_):
        write(role, "signal")
        if how == "obey":
            os._exit(0)
    signal.signal(signal.SIGTERM, heard)
    signal.alarm(60)
    write(role, "ready")
    while True:
        signal.pause()


if os.fork() == 0:
    if kind != "group":
        os.setsid()
    if kind == "orphan" and os.fork() > 0:
        os._exit(0)
    live("child", manner)
live("main", main_manner)
