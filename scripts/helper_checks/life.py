"""One life of the helper that is checked: what was asked, what was answered, and how it ends."""
import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time

from .rules import LONGEST_LINE, MOST_LINES, Wrong, check_answer, check_greeting, id_of, short, value_of

GREETING, LEAVE, TERM = 5.0, 2.0, 1.0   # seconds: to greet; to leave after stdin's end, after SIGTERM
A_MOMENT = 0.2                          # how long it must be quiet after an answer
COARSE = 0.05                           # what our own clock may be late by


class Life:
    """Whatever the program does, no call takes longer than the document gives it.

    Every call raises `Wrong` if what came broke a rule.
    """

    def __init__(self, command, patience, trace, first_id):
        self.command, self.patience, self.trace, self.next_id = command, patience, trace, first_id
        self.asked, self.sent, self.heard, self.acknowledged, self.ended = {}, {}, {}, {}, {}
        self.cancelled, self.abilities, self.greeting = set(), (), None
        self.lines, self.pending, self.count, self.error_lines = queue.Queue(), b"", 0, 0
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            env=os.environ | {"LASTCALL_HELPER_PROTOCOL": "1"}, start_new_session=True)
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)]
        for reader in self.readers:
            reader.start()

    def another(self, *arguments):
        """A process of its own; this one must be gone, since `leaves` looks for whoever is there."""
        self.close_stdin()
        self.leaves(LEAVE, "the end of stdin")
        return Life(self.command + list(arguments), self.patience, self.trace, 1)

    # ------------------------------------------------------------------------- what it says

    def _read(self):
        begun, recent = time.monotonic(), 0
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            *whole, self.pending = (self.pending + chunk).split(b"\n")
            if time.monotonic() - begun >= 1:
                begun, recent = time.monotonic(), 0
            recent += len(whole)
            if recent > MOST_LINES:
                self.lines.put(Wrong(f"more than {MOST_LINES} lines in a second", "fewer", "When it goes wrong"))
                break
            for line in whole:
                self.lines.put(line)
            if len(self.pending) >= LONGEST_LINE:
                self.lines.put(Wrong(f"a line of more than {LONGEST_LINE} bytes: {short(self.pending, 60)}",
                                     f"at most {LONGEST_LINE} with its newline", "Lines"))
                break
        self.lines.put(None)

    def _read_errors(self):
        for line in self.process.stderr:
            self.error_lines += 1
            self.trace("2", short(line.rstrip(b"\n"), 400))

    def line(self, seconds):
        """The next value that it writes; None if none came in time."""
        try:
            line = self.lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(line, Wrong):
            raise line
        if line is None:
            self.lines.put(None)
            raise Wrong(self._end() + self._unfinished(), "it to live until stdin ends", "The program")
        self.count += 1
        self.trace("<", short(line, 400))
        return value_of(line)

    def _unfinished(self):
        return f", after {short(self.pending)} without a newline" if self.pending else ""

    def _end(self):
        try:
            code = self.process.wait(LEAVE)
        except subprocess.TimeoutExpired:
            return "it closed its stdout"
        return f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"it exited with code {code}"

    def _silence(self, what, expected, section):
        """Nothing came in time: why, as far as that can be seen from here."""
        came = f"nothing {what}{self._unfinished()}"
        if not self.pending:
            self.close_stdin()
            try:
                line = self.lines.get(timeout=LEAVE)
            except queue.Empty:
                line = None
            if isinstance(line, bytes):
                came += f"; {short(line, 60)} came only when stdin was closed, so it is buffered"
        return Wrong(came, expected, section, hung=True)

    def greet(self):
        greeting = self.line(GREETING)
        if greeting is None:
            raise self._silence(f"within {GREETING:g} s", "a greeting", "The greeting")
        check_greeting(greeting)
        self.greeting, self.abilities = greeting, tuple(greeting["abilities"])

    # ------------------------------------------------------------------------- what it is asked

    def request(self, do, url, **more):
        number, self.next_id = self.next_id, self.next_id + 1
        self.asked[number] = do
        return {"id": number, "do": do} | ({"url": url} if url else {}) | more

    def send(self, *requests, pieces=1, batch=False):
        """Writes them as an agent does, at once unless in pieces; returns their ids."""
        lines = [json.dumps(one, separators=(",", ":"), ensure_ascii=False)
                 for one in ([list(requests)] if batch else requests)]
        data, now = "".join(line + "\n" for line in lines).encode(), time.monotonic()
        for line in lines:
            self.trace(">", short(line, 400))
        for one in requests:
            self.heard[one["id"]] = self.sent[one["id"]] = now
        self._write([data[len(data) * number // pieces:len(data) * (number + 1) // pieces] for number in range(pieces)])
        return [one["id"] for one in requests]

    def cancel(self, *numbers):
        self.cancelled.update(numbers)
        lines = [f'{{"id":{number},"do":"cancel"}}' for number in numbers]
        for line in lines:
            self.trace(">", line)
        self._write(["".join(line + "\n" for line in lines).encode()])

    def _write(self, parts):
        try:
            for number, part in enumerate(parts):
                if number:
                    time.sleep(0.1)     # a pipe's reader gets what is there: the beginning of a line
                self.process.stdin.write(part)
                self.process.stdin.flush()
        except BrokenPipeError:
            raise Wrong(self._end(), "it to read its requests", "The program") from None

    # ------------------------------------------------------------------------- what it answers

    def wait(self, numbers, seconds, enough=()):
        """Until each of these has ended, or is in `enough`; False if `seconds` went by without."""
        end = time.monotonic() + seconds
        while waiting := [number for number in numbers if number not in self.ended and number not in enough]:
            now = time.monotonic()
            if now >= end:
                return False
            silent = min(waiting, key=self.heard.get)
            due = self.heard[silent] + self.patience
            value = self.line(min(end, due) - now)
            if value is not None:
                self.take(value)
            elif time.monotonic() >= due:
                raise self._silence(f"about id {silent} ({self.asked[silent]}) for {self.patience:g} s",
                                    f"a state, a note or an error at least every {self.patience:g} s", "Answers")
        return True

    def answer(self, number):
        """How that request ends; an error of it is an answer, too."""
        if not self.wait([number], 3 * self.patience):
            raise Wrong(f"no end of id {number} ({self.asked[number]}) within {3 * self.patience:g} s", "an end",
                        "Answers", hung=True)
        return self.ended[number]

    def take(self, value):
        if isinstance(value, list) and "batch" not in self.abilities:
            raise Wrong(f"an array: {short(value)}", "one object a line, without the ability batch", "Batches")
        for answer in value if isinstance(value, list) else [value]:
            number = id_of(answer)
            if number in self.ended:
                raise Wrong(f"{short(answer)} after {short(self.ended[number])}", f"nothing more about id {number}: "
                            "exactly one line ends a request", "Answers")
            if number not in self.heard:
                raise Wrong(short(answer), f"the id of a request; those were {sorted(self.heard)}", "Answers")
            now = self.heard[number] = time.monotonic()
            if check_answer(answer, self.asked[number], number in self.cancelled):
                self.ended[number] = answer
            if "state" in answer:
                self.acknowledged.setdefault(number, now - self.sent[number])

    def is_idle(self):
        return not self.heard.keys() - self.ended.keys()

    def stays_quiet(self):
        """For a moment nothing comes that wasn't asked for."""
        end = time.monotonic() + A_MOMENT
        while (left := end - time.monotonic()) > 0:
            value = self.line(left)
            if value is not None:
                self.take(value)

    # ------------------------------------------------------------------------- how it ends

    def close_stdin(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def leaves(self, seconds, after, halfway=None):
        """Waits for it and its children to leave, then looks at what it said at last; returns how long it took."""
        begun = time.monotonic()
        while self.process.poll() is None or descendants():
            if halfway and self.process.poll() is None and time.monotonic() - begun >= seconds / 2:
                halfway()
                halfway = None
            if time.monotonic() - begun >= seconds + COARSE:
                names = ", ".join(f"{name} ({pid})" for pid, name in descendants().items() if pid != self.process.pid)
                who = f"it left, but {names}" if self.process.poll() is not None else f"it and {names}" if names else "it"
                raise Wrong(f"{who} still runs {seconds:g} s after {after}", f"it and its children to leave within "
                            f"{seconds:g} s", "The program")
            time.sleep(0.005)
        took = time.monotonic() - begun
        while True:
            try:
                value = self.line(LEAVE)
            except Wrong as wrong:
                if wrong.section == "The program":
                    break   # the end of stdout
                raise
            if value is not None:
                self.take(value)
        if self.pending:
            raise Wrong(f"{short(self.pending)} without a newline", "whole lines", "Lines")
        return took

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.close_stdin()
        for reader in self.readers:
            reader.join(1)


def descendants():
    """Everybody below this process that is alive, orphans included (it is their subreaper): {pid: name}."""
    facts = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:
                continue
            state, parent = stat[stat.rindex(")") + 2:].split()[:2]
            facts[int(entry)] = (int(parent), state, stat[stat.index("(") + 1:stat.rindex(")")])
    found, more = set(), {os.getpid()}
    while more:
        found |= more
        more = {pid for pid, (parent, _, _) in facts.items() if parent in found} - found
    return {pid: facts[pid][2] for pid in found - {os.getpid()} if pid in facts and facts[pid][1] not in "ZX"}
