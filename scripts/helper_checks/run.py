"""Runs the checks one by one, with a fresh life of the helper after each that failed, and reports."""
import json
import os
import sys

from .checks import Skip, all_checks
from .life import Life
from .rules import Wrong

ENOUGH = 2      # silences after which it isn't asked any more


class Report:
    COLOURS = {"ok": "32", "FAIL": "31;1", "skip": "33", "note": "33"}

    def __init__(self, output):
        self.output, self.rows = output, []
        self.colour = output == "text" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def add(self, result, name, text, wrong=None):
        facts = {"came": wrong.came, "expected": wrong.expected, "section": wrong.section} if wrong else {}
        self.rows.append({"check": name, "result": result, "text": text} | facts)
        if self.output == "text":
            word = f"\033[{self.COLOURS[result]}m{result}\033[0m" if self.colour else result
            line = f"{name}: {text}".replace("\n", " ")
            print(f"{word}{' ' * (6 - len(result))}{line}", flush=True)

    def count(self, result):
        return sum(row["result"] == result for row in self.rows)


class Run:
    def __init__(self, options):
        self.options, self.report, self.life = options, Report(options.output), None
        self.greeting, self.next_id, self.silences, self.said = None, 1, 0, [0, 0]

    def all(self):
        """The exit code: 0 if nothing is wrong, else 1."""
        if not os.path.basename(self.options.command[0]).startswith("agent-lb-"):
            self.report.add("note", "name", "an agent looks for agent-lb-SCHEME (The program)")
        try:
            if self._greet():
                for row in all_checks(self.options.wait):
                    self._try(*row)
        finally:
            self._end()
        if not self.report.count("FAIL"):
            self.report.add("ok", "output", f"{self.said[0]} lines on stdout, all of them JSON; {self.said[1]} on stderr, "
                            "for people")
        self._conclude()
        return 1 if self.report.count("FAIL") else 0

    def _start(self):
        if self.life is None:
            self.life = Life(self.options.command, self.options.patience, self.options.trace, self.next_id)
            self.life.greet()
            self.greeting = self.life.greeting
        return self.life

    def _end(self):
        """Ids go on in the next life, as they do when an agent has started it again."""
        if self.life:
            self.next_id = self.life.next_id
            self.said = [self.said[0] + self.life.count, self.said[1] + self.life.error_lines]
            self.life.kill()
            self.life = None

    def _greet(self):
        try:
            self._start().stays_quiet()
        except Wrong as wrong:
            self.report.add("FAIL", "greeting", str(wrong), wrong)
            return False
        abilities = ", ".join(self.greeting["abilities"]) or "none"
        self.report.add("ok", "greeting", f"{self.greeting['helper']} {self.greeting['version']}, abilities: {abilities}")
        return True

    def _try(self, name, check, needs_url, is_over):
        if needs_url and not self.options.url:
            return self.report.add("skip", name, "needs --url")
        if self.silences >= ENOUGH and not is_over:
            return self.report.add("skip", name, "it was silent too often")
        try:
            life = self._start()
            text = check(life, self.options.url)
            if not is_over:
                life.stays_quiet()
            self.report.add("ok", name, text)
            if is_over or not life.is_idle():
                self._end()
        except Skip as skip:
            self.report.add("skip", name, str(skip))
        except Wrong as wrong:
            self.silences += wrong.hung
            self.report.add("FAIL", name, str(wrong), wrong)
            self._end()

    def _conclude(self):
        report, program = self.report, self.options.command[0]
        if self.options.output == "json":
            print(json.dumps({"program": program, "url": self.options.url, "greeting": self.greeting,
                              "failed": report.count("FAIL"), "checks": report.rows}, ensure_ascii=False, indent=1))
            return
        verdict = f"{report.count('FAIL')} wrong" if report.count("FAIL") else "nothing is wrong"
        skipped = f", {report.count('skip')} not tried" if report.count("skip") else ""
        rules = f"; the rules are in {self.options.document}" if report.count("FAIL") else ""
        print(f"\n{program}: {verdict}, {report.count('ok')} right{skipped}{rules}")
