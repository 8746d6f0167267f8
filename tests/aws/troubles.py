"""What goes wrong with a call because a test wants it."""
import dataclasses

from .web import Reply, Wire


@dataclasses.dataclass
class Trouble:
    """`times` None: until `Troubles.clear`. `action` None: whatever is called."""
    name: str
    times: int = 1
    action: str = None
    status: int = 0
    code: str = ""
    message: str = ""
    seconds: float = 0.0
    size: int = 0
    text: str = ""
    location: str = ""

    @property
    def prevents(self):
        """Whether the call has no effect."""
        return self.name in ("error", "deny", "silent", "redirect") or self.name == "page" and self.status >= 400

    def spoil(self, reply, closed):
        """What goes over the wire instead of `reply`; `closed` ends its waits."""
        if self.name == "page":
            return Reply(self.status, self.text.encode(), "text/html")
        if self.name == "redirect":
            return Reply(self.status, b"", "text/html", {"Location": self.location})
        if self.name == "silent":
            return lambda wire: wire.hold(closed)
        if self.name == "truncate":
            return lambda wire: wire.cut(reply)
        if self.name == "huge":
            return lambda wire: wire.flood(reply, self.size)
        if self.name == "reset":
            return Wire.reset
        return reply


class Troubles:
    """A queue: the first one that fits a call happens to it. Every method is one kind of trouble.

    Signatures are checked all the same. `throttle`, `error`, `deny`, `redirect` and `silent` keep the
    call from having its effect; `truncate`, `huge`, `garbage`, `wrong_root` and `reset` only spoil its
    answer; `slow` has both come late.
    """

    def __init__(self, lock):
        self._lock, self._waiting = lock, []

    def throttle(self, times=1, action=None):
        return self.error(400, "Throttling", "Rate exceeded", times, action)

    def error(self, status=500, code="InternalFailure", message="The request processing has failed because of an "
              "unknown error, exception or failure.", times=1, action=None):
        return self._add(Trouble("error", times, action, status=status, code=code, message=message))

    def unavailable(self, times=1, action=None):
        """As a load balancer in front of the API says it: no XML at all."""
        return self._add(Trouble("page", times, action, status=503,
                                 text="<html><body><b>Http/1.1 Service Unavailable</b></body></html>"))

    def deny(self, action, times=None):
        """A role that may not do this."""
        return self._add(Trouble("deny", times, action))

    def slow(self, seconds, times=1, action=None):
        return self._add(Trouble("slow", times, action, seconds=seconds))

    def silent(self, times=1, action=None):
        """Never answered; the connection stays open."""
        return self._add(Trouble("silent", times, action))

    def truncate(self, times=1, action=None):
        """Half of the answer, then the connection closes."""
        return self._add(Trouble("truncate", times, action))

    def huge(self, size=64 << 20, times=1, action=None):
        """The right answer with so many bytes of white space before its end, and no length announced."""
        return self._add(Trouble("huge", times, action, size=size))

    def garbage(self, text="this is no XML <at & all", status=200, times=1, action=None):
        return self._add(Trouble("page", times, action, status=status, text=text))

    def wrong_root(self, times=1, action=None):
        """A 200 with a well-formed document of somebody else's."""
        return self.garbage('<?xml version="1.0"?>\n<Portal><Login>Please sign in</Login></Portal>', 200, times, action)

    def redirect(self, location, status=302, times=1, action=None):
        return self._add(Trouble("redirect", times, action, status=status, location=location))

    def reset(self, times=1, action=None):
        """The connection is reset instead of an answer."""
        return self._add(Trouble("reset", times, action))

    def clear(self):
        with self._lock:
            self._waiting.clear()

    def left(self):
        """How many calls are still to be troubled."""
        with self._lock:
            return sum(trouble.times or 0 for trouble in self._waiting)

    def next(self, action):
        """The trouble of this call, used up by one; None if there is none."""
        with self._lock:
            for trouble in self._waiting:
                if trouble.action in (None, action):
                    if trouble.times is not None:
                        trouble.times -= 1
                        if trouble.times == 0:
                            self._waiting.remove(trouble)
                    return trouble
        return None

    def _add(self, trouble):
        with self._lock:
            self._waiting.append(trouble)
        return trouble
