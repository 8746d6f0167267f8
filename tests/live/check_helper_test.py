"""scripts/check-helper: a right helper passes, and each wrong one is told what is wrong with it."""
import concurrent.futures
import json
import re
import shutil
import subprocess
import sys

import harness
from harness import ROOT

CHECK, EXAMPLE = ROOT / "scripts/check-helper", ROOT / "scripts/examples/agent-lb-file"
URL = "test:?member=1"

# A helper that keeps all the rules. What a test breaks is one of its lines.
RIGHT = """#!/usr/bin/env -S {python} -S
import json, os, signal, subprocess, sys, time
say = lambda **facts: print(json.dumps(facts), flush=True)
greet = dict(helper="agent-lb-test", version="1", protocol=1, abilities=["register", "cancel", "batch", "watch"])
open_ones = set()
def answer(one):
    number, do, url = one["id"], one["do"], one.get("url")
    if do == "check":
        say(id=number, state="known", knows=True, settleMs=100, port=8080, target="member 1")
    elif do == "register":
        say(id=number, state="registered")
    elif do == "deregister":
        say(id=number, state="draining", connections=1)
        say(id=number, note="nearly done")
        say(id=number, state="drained")
    elif do == "cancel":
        pass
    elif do == "watch" and sys.argv[1:] == ["watch"]:
        say(id=number, state="watching")
        say(id=number, notice="SpotInterruption", reason="it will be terminated", at="2026-09-18T08:22:00Z")
    else:
        say(id=number, error=f"cannot do {{do}}: unknown", retry=False)
print("text for people", file=sys.stderr)
say(**greet)
for line in sys.stdin:
    value = json.loads(line)
    for one in value if isinstance(value, list) else [value]:
        answer(one)
"""

DRAINED = 'say(id=number, state="drained")'
KNOWN = 'say(id=number, state="known", knows=True, settleMs=100, port=8080, target="member 1")'
LOOP = "for line in sys.stdin:"
GREET = "say(**greet)"
ENDS_LATE = "time.sleep(60)"

# what it does wrong: the lines to replace, and the line that tells of it
BROKEN = {
    "greets with text": ((GREET, 'print("hello", flush=True)'),
                         r"FAIL  greeting: on stdout: hello; expected one JSON value a line .*\(Lines\)"),
    "greets with a number": ((GREET, "print(1, flush=True)"), r"FAIL  greeting: 1; expected an object like .*\(The greeting\)"),
    "speaks another protocol": (("protocol=1", "protocol=2"), r"FAIL  greeting: protocol 2; expected protocol 1, a number"),
    "has a protocol that is no number": (("protocol=1", "protocol=True"), r"FAIL  greeting: protocol true; expected"),
    "has no abilities": (('abilities=["register", "cancel", "batch", "watch"]', "more=1"),
                         r"FAIL  greeting: no abilities in .*; expected abilities, a list of names"),
    "says more than its greeting": ((GREET, GREET + "; say(id=1, note='here I am')"),
                                    r'FAIL  greeting: {"id": 1, "note": "here I am"}; expected the id of a request; those were \[\]'),
    "doesn't write its lines out": (("flush=True", "flush=False"),
                                    r'FAIL  greeting: nothing within 5 s; {"helper".* came only when stdin was closed, so it '
                                    r"is buffered; expected a greeting"),
    "never answers a check": ((KNOWN, "pass"), r"FAIL  check: nothing about id 1 \(check\) for 1 s; expected a state, a note or "
                                               r"an error at least every 1 s \(Answers\)"),
    "answers the wrong id": ((KNOWN, KNOWN.replace("id=number", "id=number + 100")),
                             r'FAIL  check: {"id": 101, .*; expected the id of a request; those were \[1\] \(Answers\)'),
    "answers without an id": ((KNOWN, 'say(state="known")'), r"FAIL  check: .*; expected an object with the id of its request"),
    "writes no newline": ((KNOWN, 'print(\'{"id":%d,"state":"known"}\' % number, end="", flush=True)'),
                          r'FAIL  check: nothing about id 1 \(check\) for 1 s, after {"id":1,"state":"known"} without a newline'),
    "writes a line that is too long": (('"member 1"', '"m" * 65536'), r"FAIL  check: a line of (\d+|more than 65536) bytes.*; expected at most 65536 with its newline"),
    "writes a line without end": ((KNOWN, 'os.write(1, b"x" * 200000)'),
                                  r"FAIL  check: a line of more than 65536 bytes: xxx.*; expected at most 65536"),
    "writes no UTF-8": ((KNOWN, 'os.write(1, b"{\\xff}\\n")'), r"FAIL  check: a line that is no UTF-8: b'{\\xff}'; expected UTF-8"),
    "floods": ((KNOWN, 'os.write(1, b"1\\n" * 100000)'), r"FAIL  check: (1; expected an object|more than 20000 lines in a second)"),
    "talks on stdout": ((KNOWN, 'print("checking", flush=True); ' + KNOWN),
                        r"FAIL  check: on stdout: checking; expected one JSON value a line and nothing else; text for people goes"),
    "answers twice": ((KNOWN, f"{KNOWN}; {KNOWN}"), r"FAIL  check: .* after .*; expected nothing more about id 1: exactly one "
                                                    r"line ends a request \(Answers\)"),
    "has a key out of its range": (("settleMs=100", "settleMs=3600001"),
                                   r"FAIL  check: settleMs 3600001; expected settleMs to be a whole number, 0 to 3600000"),
    "has a key of the wrong type": (("knows=True", "knows=1"), r"FAIL  check: knows 1; expected knows to be true or false"),
    "registers without the ability": ((('abilities=["register", ', "abilities=["), ("knows=True", "register=True")),
                                      r"FAIL  check: register true, without the ability; expected register among the greeting's"),
    "answers with arrays": (('["register", "cancel", "batch", "watch"]', "[]"), (KNOWN, 'print(json.dumps([dict(id=number, state="known")]), flush=True)'),
                            r"FAIL  check: an array: .*; expected one object a line, without the ability batch \(Batches\)"),
    "refuses keys that it doesn't know": (("    number,", "    assert len(one) <= 3\n    number,"),
                                          r"FAIL  unknown key: it exited with code 1; expected it to live until stdin ends"),
    "needs whole lines": ((LOOP, "while line := os.read(0, 65536):"), r"FAIL  pieces: it exited with code 1; expected it to (live|read)"),
    "serves one at a time": ((LOOP, "while line := os.read(0, 65536).partition(b'\\n')[0]:"),
                             r"FAIL  several at once: nothing about id \d+ \(check\) for 1 s"),
    "dies of an unknown request": (("say(id=number, error=", "sys.exit(3); say(id=number, error="),
                                   r"FAIL  unknown request: it exited with code 3; expected it to live until stdin ends \(The program\)"),
    "has an error without cannot": (('f"cannot do', 'f"unable to do'),
                                    r'FAIL  unknown request: .*; expected an error of one line that begins with "cannot"'),
    "takes any request": (("say(id=number, error=", 'say(id=number, state="done") or dict(error='),
                          r"FAIL  unknown request: .*; expected an error for 'dance' \(Answers\)"),
    "wants to be asked again what it can't do": (("retry=False", "retry=True"), r"FAIL  unknown request: .*; expected no retry"),
    "crashes on deregister": ((DRAINED, "os.kill(os.getpid(), signal.SIGSEGV)"),
                              r"FAIL  deregister: it was killed by SIGSEGV; expected it to live until stdin ends \(The program\)"),
    "counts below zero": (("connections=1", "connections=-1"), r"FAIL  deregister: .*; expected connections a whole number from 0"),
    "ends a deregistration as registered": ((DRAINED, 'say(id=number, state="registered")'),
                                            r"FAIL  deregister: .*; expected state drained or draining for deregister"),
    "refuses a target that isn't there": ((DRAINED, f"{DRAINED} if open_ones.add(number) or len(open_ones) == 1 else say(id=number, error='cannot: gone')"),
                                          r"FAIL  deregister again: .*; expected drained, or draining: a target that isn't there is a "
                                          r"success \(Requests\)"),
    "is silent while it drains": ((DRAINED, "pass"), r"FAIL  deregister: nothing about id \d+ \(deregister\) for 1 s; expected"),
    "doesn't end what is cancelled": ((DRAINED, f"{DRAINED} if open_ones.add(number) or len(open_ones) < 6 else None"),
                                      r"FAIL  cancel: (nothing about|no end of) id \d+ .*; expected"),
    "answers a cancel itself": (("        pass", '        say(id=number, state="cancelled")'),
                                r"FAIL  cancel: .*; expected nothing more about id \d+"),
    "can't read a batch": (("if isinstance(value, list) else [value]", "if False else [value]"),
                           r"FAIL  batch: it exited with code 1; expected it to live"),
    "stays when stdin ends": ((LOOP, f"import atexit; atexit.register(lambda: {ENDS_LATE})\n{LOOP}"),
                              r"FAIL  end of stdin: it still runs 2 s after the end of stdin; expected it and its children to leave"),
    "leaves a child behind": ((LOOP, f'subprocess.Popen(["sleep", "60"], stdout=2, start_new_session=True)\n{LOOP}'),
                              r"FAIL  end of stdin: it left, but sleep \(\d+\) still runs 2 s after the end of stdin"),
    "says good-bye": ((LOOP, f"import atexit; atexit.register(lambda: print('bye'))\n{LOOP}"),
                      r"FAIL  end of stdin: on stdout: bye; expected one JSON value a line"),
    "ignores SIGTERM": ((GREET, f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{GREET}"),
                        r"FAIL  sigterm: it still runs 1 s after SIGTERM to its process group"),
    "watches and doesn't say so": (('say(id=number, state="watching")', "pass"), ('say(id=number, notice', "dict(notice"),
                                   r"FAIL  watch: nothing about id 1 \(watch\) for 1 s; expected"),
    "has a notice that is none": (('notice="Spot', 'notice="My'),
                                  r"FAIL  watch: .*; expected notice SpotInterruption or TerminationNotice \(Notices\)"),
    "has a time that is none": (('at="2026-09-18T08:22:00Z"', 'at="08:22"'),
                                r"FAIL  watch: .*; expected at as in \"2026-09-18T08:22:00Z\" \(Notices\)"),
    "can't watch when it is told to": (('sys.argv[1:] == ["watch"]', "False"),
                                       r"FAIL  watch: .*cannot do watch.*; expected watching, or an error with retry"),
}


class CheckHelper(harness.LiveTest):
    def write(self, name, text):
        room = self.dir / re.sub(r"\W+", "-", name)
        room.mkdir()
        program = room / "agent-lb-test"
        program.write_text(text)
        program.chmod(0o755)
        return program

    def helper(self, name, *replacements):
        text = RIGHT.format(python=sys.executable)
        for old, new in replacements:
            self.assertIn(old, text, name)
            text = text.replace(old, new)
        return self.write(name, text)

    @staticmethod
    def environment():
        return {name: value for name, value in harness.clean_environment().items() if name != "PYTHONUNBUFFERED"}

    def run_check(self, program, *options, url=URL, code=None, seconds=120):
        words = [CHECK, program, *(["--url", url] if url else []), "--wait", "1", *options]
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
                              env=self.environment())
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def test_a_right_one_passes(self):
        done = self.run_check(self.helper("right"), code=0)
        self.assertNotIn("FAIL", done.stdout)
        self.assertEqual(done.stderr, "")
        self.assertIn("ok    check: known (knows=true, settleMs=100, port=8080, target=member 1)\n", done.stdout)
        self.assertIn("ok    batch: 20 checks, then 3 deregistrations: drained", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ok    output: \d+ lines on stdout, all of them JSON; 4 on stderr, for people$")
        self.assertIn("nothing is wrong, 19 right", done.stdout)
        self.assertNotIn("\033", done.stdout)

    def test_each_wrong_one_is_told_why(self):
        def judge(name):
            *replacements, expected = BROKEN[name]
            if isinstance(replacements[0][0], tuple):
                replacements = replacements[0]
            return name, expected, self.run_check(self.helper(name, *replacements), "--patience", "1")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for name, expected, done in pool.map(judge, BROKEN):
                with self.subTest(name):
                    self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                    self.assertRegex(done.stdout, expected)
                    self.assertNotIn("Traceback", done.stderr)

    def test_one_fault_hides_no_other(self):
        program = self.helper("two faults", ("connections=1", "connections=-1"), (GREET, f"signal.signal(15, signal.SIG_IGN)\n{GREET}"))
        done = self.run_check(program, code=1)
        self.assertEqual(re.findall(r"(?m)^FAIL  ([\w ]+):", done.stdout), [
            "deregister", "deregister again", "side by side", "deregister twice at once", "cancel", "batch",
            "end of stdin under way", "sigterm"])
        self.assertIn("ok    register: ", done.stdout)

    def test_it_never_hangs(self):
        program = self.write("mute", "#!/bin/sh\nexec sleep 600\n")
        begun = harness.boot_now()
        done = self.run_check(program, code=1, seconds=60)
        self.assertIn("FAIL  greeting: nothing within 5 s; expected a greeting (The greeting)", done.stdout)
        self.assert_took(harness.boot_now() - begun, 5, 9)
        self.assertEqual([name for name in harness.descendants().values() if name != "Z"], [])

    def test_a_drain_that_lasts_is_left_alone_or_cancelled(self):
        lasts = [(DRAINED, "open_ones.add(number)"), ("        pass", '        open_ones.remove(number); say(id=number, state="cancelled")')]
        alone = self.helper("lasts", ('"register", "cancel", "batch", "watch"', ""), lasts[0])
        done = self.run_check(alone, code=0)
        self.assertIn("ok    deregister: still draining, acknowledged", done.stdout)
        cancels = [*lasts, ('if do == "check"', 'if do == "cancel" and number not in open_ones:\n        pass\n    elif do == "check"')]
        done = self.run_check(self.helper("cancels", *cancels), code=0)
        self.assertIn("ok    deregister: cancelled, acknowledged", done.stdout)

    def test_for_a_build_server(self):
        done = self.run_check(self.helper("dies", ("say(id=number, error=", "sys.exit(3); say(id=number, error=")),
                              "--output", "json", code=1)
        told = json.loads(done.stdout)
        self.assertEqual((told["greeting"]["helper"], told["url"], told["failed"]), ("agent-lb-test", URL, 1))
        [wrong] = [row for row in told["checks"] if row["result"] == "FAIL"]
        self.assertEqual(wrong["came"], "it exited with code 3")
        self.assertEqual(wrong["section"], "The program")

    def test_without_a_url_only_what_needs_none(self):
        done = self.run_check(self.helper("right"), url=None, code=0)
        self.assertIn("skip  deregister: needs --url\n", done.stdout)
        self.assertIn("ok    unknown request: cannot do dance: unknown\n", done.stdout)
        self.assertIn("ok    sigterm: left after", done.stdout)

    def test_the_agents_own_parameters_stay_with_the_agent(self):
        done = self.run_check(self.helper("right"), "--trace", url=URL + "&register=0&drain=idle&timeout=5s&settle=1s&x=1", code=0)
        self.assertIn('  > {"id":1,"do":"check","url":"test:?member=1&x=1"}\n', done.stderr)
        self.assertIn("  2 text for people\n", done.stderr)

    def test_what_cannot_be_tried(self):
        self.assertIn("cannot execute '/nowhere/agent-lb-x': no such file", self.run_check("/nowhere/agent-lb-x", code=2).stderr)
        program = self.write("empty", "no script")
        self.assertIn("Exec format error", self.run_check(program, code=2).stderr)
        self.assertIn("cannot use 'a b'", self.run_check(program, url="a b", code=2).stderr)
        self.assertIn("--patience", self.run_check(program, "--patience", "0", code=2).stderr)
        self.assertIn("agent looks for agent-lb-SCHEME", self.run_check(shutil.which("true"), url=None, code=1).stdout)

    def test_the_help_teaches(self):
        told = subprocess.run([CHECK, "--help"], capture_output=True, text=True, check=True).stdout
        for words in ("REGISTERS AND DEREGISTERS THAT TARGET", "examples:", "exit codes:"):
            self.assertIn(words, told)


class Example(harness.LiveTest):
    """The helper in POSIX shell, in each shell that there is."""

    SHELLS = {"dash": ["dash"], "busybox sh": ["busybox", "sh"], "bash": ["bash", "--posix"]}

    def test_it_passes_in_every_shell(self):
        def judge(name):
            words = self.SHELLS[name]
            room = self.dir / words[0]
            room.mkdir()
            program = room / "agent-lb-file"
            program.write_text(EXAMPLE.read_text().replace("#!/bin/sh", f"#!/usr/bin/env -S {' '.join(words)}", 1))
            program.chmod(0o755)
            (room / "lb").write_text("# ours\nserver 10.0.0.9:80;\n")
            return name, room, subprocess.run(
                [CHECK, program, "--wait", "1", "--url", f"file:?path={room}/lb&line=server+10.0.0.5:8080;"],
                capture_output=True, text=True, timeout=100)
        shells = [name for name, words in self.SHELLS.items() if shutil.which(words[0])]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for name, room, done in pool.map(judge, shells):
                with self.subTest(name):
                    self.assertEqual(done.returncode, 0, done.stdout)
                    self.assertEqual((room / "lb").read_text(), "# ours\nserver 10.0.0.9:80;\n")
                    self.assertEqual(sorted(path.name for path in room.iterdir()), ["agent-lb-file", "lb"])

    def test_so_does_the_one_of_thirty_lines(self):
        program, flag = ROOT / "scripts/examples/agent-lb-flag", self.dir / "up"
        self.assertLessEqual(len(program.read_text().splitlines()), 30)
        done = subprocess.run([CHECK, program, "--wait", "1", "--url", f"flag:{flag}"],
                              capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertFalse(flag.exists())

    def ask(self, *requests, **environment):
        lines = "".join(json.dumps({"id": number, **one}, separators=(",", ":")) + "\n"
                        for number, one in enumerate(requests, 1))
        done = subprocess.run([EXAMPLE], input=lines, capture_output=True, text=True, timeout=20,
                              env=harness.clean_environment(**environment))
        return [json.loads(line) for line in done.stdout.splitlines()[1:]], done.stderr

    def file(self, line="server+10.0.0.5:8080;", name="lb"):
        return f"file:?path={self.dir}/{name}&line={line}"

    def test_the_file_keeps_its_mode_and_its_other_lines(self):
        lb = self.dir / "lb"
        lb.write_text("one\nserver 10.0.0.5:80801;\ntwo\n")
        lb.chmod(0o640)
        answers, _ = self.ask({"do": "register", "url": self.file()}, {"do": "register", "url": self.file()},
                              {"do": "register", "url": self.file("b=%w*")})
        self.assertEqual([answer["state"] for answer in answers], ["registered"] * 3)
        self.assertEqual(lb.read_text(), "one\nserver 10.0.0.5:80801;\ntwo\nserver 10.0.0.5:8080;\nb=%w*\n")
        self.assertEqual(lb.stat().st_mode & 0o777, 0o640)
        answers, _ = self.ask({"do": "deregister", "url": self.file()})
        self.assertEqual(answers[0], {"id": 1, "state": "draining"})
        self.assertEqual(lb.read_text(), "one\nserver 10.0.0.5:80801;\ntwo\nb=%w*\n")

    def test_the_server_hears_of_each_change_and_its_refusal_is_told(self):
        answers, said = self.ask({"do": "register", "url": self.file()}, {"do": "deregister", "url": self.file()},
                                 LB_FILE_RELOAD=f"cat {self.dir}/lb; echo reloaded")
        self.assertEqual(said, "server 10.0.0.5:8080;\nreloaded\nreloaded\n")
        answers, said = self.ask({"do": "deregister", "url": self.file()}, LB_FILE_RELOAD="echo no >&2; exit 3")
        self.assertEqual(answers, [{"id": 1, "error": f"cannot change {self.dir}/lb or reload: status 3, see above", "retry": True}])
        self.assertEqual(said, "no\n")

    def test_refusals(self):
        (self.dir / "held.lock").mkdir()
        answers, _ = self.ask({"do": "check", "url": "file:?line=x"}, {"do": "check", "url": "file:?path=/tmp/x"},
                              {"do": "check", "url": "file:?path=/nowhere/x&line=y"},
                              {"do": "deregister", "url": self.file(name="held")})
        self.assertEqual([answer.get("retry") for answer in answers], [False, False, False, True])
        self.assertIn("held.lock, which locks it", answers[3]["error"])

    def test_many_at_once_lose_nothing(self):
        def register(number):
            return self.ask({"do": "register", "url": self.file(f"server-{number}")})[0][0]["state"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertEqual(set(pool.map(register, range(24))), {"registered"})
        self.assertEqual(sorted((self.dir / "lb").read_text().split()), sorted(f"server-{n}" for n in range(24)))


if __name__ == "__main__":
    harness.main()
