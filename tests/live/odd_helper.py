#!/usr/bin/python3
"""A helper program that does what the file `manners.json` beside it says, and writes down what it hears.

Each manner is for one moment (`start`, `check`, `register`, `deregister`, `drain`, `end`) and holds in
one life only, if `life` is given.
"""
import json
import os
import pathlib
import select
import subprocess
import sys
import time

HERE = pathlib.Path(sys.argv[0]).absolute().parent
VERSION = "1"


def note(**what):
    with open(HERE / "heard.jsonl", "a") as heard:
        heard.write(json.dumps({"pid": os.getpid(), "boot": time.clock_gettime(time.CLOCK_BOOTTIME), **what}) + "\n")


def life():
    return sum('"event": "start"' in line for line in (HERE / "heard.jsonl").read_text().splitlines())


def manner(moment):
    found = json.loads((HERE / "manners.json").read_text()).get(moment, {})
    return {} if found.get("life", LIFE) != LIFE else found


def say(**answer):
    os.write(1, json.dumps(answer).encode() + b"\n")


def behave(moment, **more):
    """Whether the usual answer is due."""
    wish = manner(moment)
    if text := wish.get("stderr"):
        print(text, file=sys.stderr, flush=True)
    if "leave_behind" in wish:
        # An orphan, which holds our output open.
        subprocess.run(["sh", "-c", f"trap '' TERM; sleep 600 </dev/null & echo $! >{HERE}/left"], check=True)
        note(event="left", child=int((HERE / "left").read_text()))
    if "write" in wish:
        os.write(1, wish["write"].encode() * wish.get("times", 1))
    if "answer" in wish:
        say(**more, **wish["answer"])
    if "kill" in wish:
        os.kill(os.getpid(), wish["kill"])
    if "exit" in wish:
        os._exit(wish["exit"])
    return not wish.keys() & {"write", "answer", "silent"}


note(event="start", arguments=sys.argv[1:], protocol=os.environ.get("LASTCALL_HELPER_PROTOCOL"), cwd=os.getcwd())
LIFE = life()
if behave("start"):
    say(helper="agent-lb-odd", version=VERSION, protocol=1, abilities=["register", "cancel"])
draining, rest = set(), b""
while True:
    readable, _, _ = select.select([0], [], [], 0.02)
    for each in sorted(draining):
        if (HERE / "quiet").exists() and behave("drain", id=each):
            say(id=each, state="drained")
            draining.discard(each)
    if not readable:
        continue
    chunk = os.read(0, 65536)
    if not chunk:
        break
    *lines, rest = (rest + chunk).split(b"\n")
    for line in lines:
        request = json.loads(line)
        note(event="request", **request)
        usual = behave(request["do"], id=request["id"])
        if not usual:
            continue
        match request["do"]:
            case "check":
                say(id=request["id"], state="known", **manner("known"))
            case "register":
                say(id=request["id"], state="registered")
            case "deregister":
                say(id=request["id"], state="draining", connections=1)
                draining.add(request["id"])
            case "cancel":
                draining.discard(request["id"])
                say(id=request["id"], state="cancelled")
behave("end")
note(event="end")
