"""The stand-in's own time."""
import heapq
import itertools
import threading
import time
import traceback


class Clock:
    """Real time, plus what a test has `advance`d it by; `skew` is what is wrong with its wall clock.

    `now` is an epoch time that runs evenly. What is due (`at`) happens in one thread, in order of time,
    under `lock`: the lock of everything that the stand-in knows.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.skew = 0.0
        self.failures = []      # tracebacks of what was due and went wrong
        self._ahead = time.time() - time.monotonic()
        self._due, self._numbers = [], itertools.count()
        self._changed, self._closed = threading.Condition(self.lock), False
        self._thread = threading.Thread(target=self._run, daemon=True, name="aws clock")
        self._thread.start()

    def now(self):
        return time.monotonic() + self._ahead

    def wall(self):
        """What it believes the time to be: the Date header, signatures, expiry."""
        return self.now() + self.skew

    def advance(self, seconds):
        """Makes it later; what has become due happens before this returns."""
        with self.lock:
            self._ahead += seconds
            self._do_what_is_due()
            self._changed.notify_all()

    def at(self, moment, action):
        """`action()` at a time of `now`."""
        with self.lock:
            heapq.heappush(self._due, (moment, next(self._numbers), action))
            self._changed.notify_all()

    def close(self):
        with self.lock:
            self._closed = True
            self._due.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self):
        with self.lock:
            while not self._closed:
                self._do_what_is_due()
                self._changed.wait(max(0.0, self._due[0][0] - self.now()) if self._due else None)

    def _do_what_is_due(self):
        while self._due and self._due[0][0] <= self.now():
            try:
                heapq.heappop(self._due)[2]()
            except Exception:  # the clock goes on; the test is told at its end
                self.failures.append(traceback.format_exc())
