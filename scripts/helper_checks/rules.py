"""What docs/helper-protocol.md demands of a line; each rule says which section has it."""
import json
import re

LONGEST_LINE, MOST_LINES = 65536, 20000     # bytes of a line with its newline; lines in a second
LONGEST_WAIT = 3600000                      # milliseconds
LARGEST = 1 << 53
ENDS = {"check": {"known"}, "register": {"registered"}, "deregister": {"drained", "cancelled"}}

NOTICES = ("SpotInterruption", "TerminationNotice")
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Wrong(Exception):
    """What came, what was expected, and the section of the document that says so."""

    def __init__(self, came, expected, section, hung=False):
        super().__init__(f"{came}; expected {expected} ({section})")
        self.came, self.expected, self.section, self.hung = came, expected, section, hung


def short(value, most=160):
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[:most] + "…"


def whole_number(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def one_line(value):
    return isinstance(value, str) and value.strip() != "" and "\n" not in value


def flag(value):
    return isinstance(value, bool)


def milliseconds(value):
    return whole_number(value, 0, LONGEST_WAIT)


def value_of(line):
    """The JSON of a line that came without its newline."""
    if len(line) + 1 > LONGEST_LINE:
        raise Wrong(f"a line of {len(line) + 1} bytes", f"at most {LONGEST_LINE} with its newline", "Lines")
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise Wrong(f"a line that is no UTF-8: {line[:80]!r}", "UTF-8", "Lines") from None
    except (ValueError, RecursionError):
        raise Wrong(f"on stdout: {short(line)}", "one JSON value a line and nothing else; text for people goes to stderr",
                    "Lines") from None


def check_greeting(greeting):
    section = "The greeting"
    if not isinstance(greeting, dict):
        raise Wrong(short(greeting), 'an object like {"helper":…,"version":…,"protocol":1,"abilities":[]}', section)
    rules = {"protocol": (lambda value: whole_number(value, 1, 1), "protocol 1, a number"),
             "helper": (one_line, "its name, a string"), "version": (one_line, "its version, a string"),
             "abilities": (lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
                           "abilities, a list of names, [] if it has none")}
    for key, (right, expected) in rules.items():
        if key not in greeting:
            raise Wrong(f"no {key} in {short(greeting)}", expected, section)
        if not right(greeting[key]):
            raise Wrong(f"{key} {short(greeting[key])}", expected, section)


def id_of(answer):
    number = answer.get("id") if isinstance(answer, dict) else None
    if not whole_number(number, 1, LARGEST):
        raise Wrong(short(answer), "an object with the id of its request, a number", "Answers")
    return number


def check_answer(answer, do, cancelled):
    """Whether this line ends a request for `do`."""
    if do == "watch" and ("notice" in answer or answer.get("state") == "watching"):
        check_notice(answer)
        return False
    kinds = [key for key in ("state", "note", "error") if key in answer]
    if len(kinds) != 1:
        raise Wrong(short(answer), "one of state, note and error", "Answers")
    text = answer[kinds[0]]
    if kinds[0] == "note":
        if not one_line(text):
            raise Wrong(short(answer), "a note of one line of text", "Answers")
        return False
    if kinds[0] == "error":
        if not one_line(text) or not text.startswith("cannot"):
            raise Wrong(short(answer), 'an error of one line that begins with "cannot"', "Answers")
        if not flag(answer.get("retry", False)):
            raise Wrong(short(answer), "retry true or false", "Answers")
        return True
    if "connections" in answer and not whole_number(answer["connections"], 0, LARGEST):
        raise Wrong(short(answer), "connections a whole number from 0, or left out", "Answers")
    if do == "deregister" and text == "draining":
        return False
    ends = ENDS.get(do, set()) - (set() if cancelled else {"cancelled"})
    if text not in ends:
        allowed = sorted(ends | ({"draining"} if do == "deregister" else set()))
        raise Wrong(short(answer), f"state {' or '.join(allowed)} for {do}" if allowed else f"an error for '{do}'", "Answers")
    return True


def check_notice(answer):
    if "notice" not in answer:
        return
    if answer["notice"] not in NOTICES:
        raise Wrong(short(answer), f"notice {' or '.join(NOTICES)}", "Notices")
    if "reason" in answer and not one_line(answer["reason"]):
        raise Wrong(short(answer), "a reason of one line of text", "Notices")
    if "at" in answer and not (isinstance(answer["at"], str) and UTC.fullmatch(answer["at"])):
        raise Wrong(short(answer), 'at as in "2026-09-18T08:22:00Z"', "Notices")


def check_known(known, abilities):
    """What `check` was told of its target, for people."""
    rules = {"knows": (flag, "true or false"), "settleMs": (milliseconds, f"a whole number, 0 to {LONGEST_WAIT}"),
             "delayMs": (milliseconds, f"a whole number, 0 to {LONGEST_WAIT}"), "register": (flag, "true or false"),
             "port": (lambda value: whole_number(value, 1, 65535), "a whole number, 1 to 65535"),
             "target": (one_line, "one line of text"), "warning": (one_line, "one line of text")}
    for key, (right, expected) in rules.items():
        if key in known and not right(known[key]):
            raise Wrong(f"{key} {short(known[key])}", f"{key} to be {expected}", "Answers, check")
    if known.get("register") and "register" not in abilities:
        raise Wrong("register true, without the ability", "register among the greeting's abilities, too",
                    "The greeting; Answers, check")
    return ", ".join(f"{key}={short(known[key])}" for key in rules if key in known)
