"""The checks. Each takes a life that has greeted and a URL, returns what it found, and raises `Wrong`, or
`Skip` if it can't be made."""
import json
import os
import signal

from .life import LEAVE, TERM
from .rules import Wrong, check_known, short


class Skip(Exception):
    """Why a check can't be made."""


def need(life, ability):
    if ability not in life.abilities:
        raise Skip(f"without the ability {ability}")


def known(life, number):
    answer = life.answer(number)
    if "error" in answer:
        raise Wrong(short(answer), "state known: is the URL right, and its load balancer there?", "Answers, check")
    return check_known(answer, life.abilities)


def ask(life, do, url, **more):
    return life.send(life.request(do, url, **more))[0]


def drained(life, numbers, seconds):
    """Waits for the acknowledgement, and then so long for the end; cancels after that, if it is able to."""
    limit = 3 * life.patience
    if not life.wait(numbers, limit, life.acknowledged):
        raise Wrong(f"notes, but no state within {limit:g} s", "draining or drained", "Answers, deregister")
    if not life.wait(numbers, seconds) and "cancel" in life.abilities:
        cancelled(life, [number for number in numbers if number not in life.ended])
    for number in numbers:
        if "error" in life.ended.get(number, {}):
            raise Wrong(short(life.ended[number]), "drained, or draining: a target that isn't there is a success", "Requests")
    ends = {life.ended[number]["state"] if number in life.ended else "still draining" for number in numbers}
    slowest = max(life.acknowledged[number] for number in numbers)
    return f"{' and '.join(sorted(ends))}, acknowledged after {1000 * slowest:.0f} ms"


def cancelled(life, numbers):
    life.cancel(*numbers)
    if not life.wait(numbers, life.patience):
        raise Wrong(f"no end of id {numbers[0]} within {life.patience:g} s of its cancel", "state cancelled or drained",
                    "Answers")


def check(life, url):
    facts = known(life, ask(life, "check", url))
    return f"known ({facts})" if facts else "known"


def unknown_key(life, url):
    known(life, ask(life, "check", url, colour="blue", shade={"of": [1, None]}))
    return "ignored"


def pieces(life, url):
    known(life, life.send(life.request("check", url), pieces=3)[0])
    return "a request that comes in three pieces is one"


def several_at_once(life, url):
    for number in life.send(*(life.request("check", url) for _ in range(5))):
        known(life, number)
    return "five requests in one write, five answers"


def unknown_request(life, url):
    answer = life.answer(ask(life, "dance", url or "nobody:?x=1"))
    if answer.get("retry"):
        raise Wrong(short(answer), "no retry: it would be refused again", "Answers")
    if url:
        known(life, ask(life, "check", url))
    return short(answer["error"])


def nonsense_url(life, url):
    scheme = (url or "nobody:").partition(":")[0]
    answer = life.answer(ask(life, "check", f"{scheme}:?check-helper=%00nonsense&&=%zz"))
    return short(answer.get("error", "it takes any URL"))


def register(life, url):
    need(life, "register")
    for _ in range(2):
        answer = life.answer(ask(life, "register", url))
        if "error" in answer:
            raise Wrong(short(answer), "state registered, and again if it is asked again", "Requests")
    return "registered, twice"


def deregister_again(life, url):
    return drained(life, [ask(life, "deregister", url)], 1)


def deregister_twice_at_once(life, url):
    return drained(life, [ask(life, "deregister", url), ask(life, "deregister", url)], 1)


def side_by_side(life, url):
    deregistration, question = life.request("deregister", url), life.request("check", url)
    life.send(deregistration, question)
    known(life, question["id"])
    return drained(life, [deregistration["id"]], 1) + "; check answered beside it"


def cancel(life, url):
    need(life, "cancel")
    number = ask(life, "deregister", url)
    cancelled(life, [number])
    answer = life.ended[number]
    life.cancel(number)     # it has ended: nothing is to be said about it
    known(life, ask(life, "check", url))
    return answer.get("state", short(answer))


def batch(life, url):
    need(life, "batch")
    count = max(2, min(20, 32768 // (len(json.dumps(url)) + 40)))   # a pipe holds 65,536 bytes
    for number in life.send(*(life.request("check", url) for _ in range(count)), batch=True):
        known(life, number)
    numbers = life.send(*(life.request("deregister", url) for _ in range(3)), batch=True)
    return f"{count} checks, then 3 deregistrations: {drained(life, numbers, 1)}"


def watch(life, url):
    """For spot notices only: whoever completes a hook lets an instance go."""
    need(life, "watch")
    watcher = life.another("watch")
    try:
        watcher.greet()
        need(watcher, "watch")
        number = watcher.send(watcher.request("watch", None, spot=True))[0]
        if not watcher.wait([number], 3 * watcher.patience, watcher.acknowledged):
            raise Wrong(f"notes, but no state within {3 * watcher.patience:g} s", "watching", "Notices")
        end = watcher.ended.get(number)
        if end and not end.get("retry"):
            raise Wrong(short(end), "watching, or an error with retry: it has the ability", "Notices")
        said = short(end["error"]) if end else "watching"
        watcher.stays_quiet()
        watcher.close_stdin()
        return f"{said}; left after {1000 * watcher.leaves(LEAVE, 'the end of stdin'):.0f} ms (no hook was tried)"
    finally:
        watcher.kill()


def end_of_stdin(life, url):
    life.close_stdin()
    return f"left after {1000 * life.leaves(LEAVE, 'the end of stdin'):.0f} ms"


def end_of_stdin_under_way(life, url):
    ask(life, "deregister", url)
    return end_of_stdin(life, url)


def sigterm(life, url):
    def send():
        os.killpg(life.process.pid, signal.SIGTERM)
    send()
    # A shell that is just about to read acts on the first one when the second wakes it.
    return f"left after {1000 * life.leaves(TERM, 'SIGTERM to its process group', halfway=send):.0f} ms"


def all_checks(wait):
    """(name, check, whether it needs a URL, whether the helper is gone after it). `wait`: how long a drain may last."""
    def deregister(life, url):
        return drained(life, [ask(life, "deregister", url)], wait)
    middle = [check, unknown_key, pieces, several_at_once, register, deregister, deregister_again, side_by_side,
              deregister_twice_at_once, cancel, batch]
    rows = [(one, True, False) for one in middle]
    rows[4:4] = [(unknown_request, False, False), (nonsense_url, False, False)]
    rows += [(end_of_stdin, False, True), (end_of_stdin_under_way, True, True),
             (sigterm, False, True), (watch, False, True)]
    return [(one.__name__.replace("_", " "), one, url, over) for one, url, over in rows]
