"""The traffic of a target group: a real HAProxy that sends it where the stand-in has targets registered."""
import pathlib
import re
import sys
from collections import namedtuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "live"))

import harness  # noqa: E402  (found by the line above)

POLL = 0.05
Facts = namedtuple("Facts", "status scur qcur idle")


class DataPlane(harness.HaproxyAdmin):
    """Clients go to `port`; a target is a server from its registration on.

    After a deregistration new requests keep coming for `still` seconds. Then what is left of the pool of
    idle connections is dropped as soon as no request is in flight (`pool="dropped"`) or kept
    (`pool="kept"`); at the end of the delay all is cut, as an ALB does it. In mode "tcp" (an NLB) the
    connections are the clients' own.
    Every target is taken to be at 127.0.0.1, unless its id is a loopback address or `addresses` has it.
    `check`: seconds between health checks (`GET path`); 0: none, every target is healthy. There is room
    for `slots` targets: servers of HAProxy's configuration, since one that is added at run time pools nothing.
    """

    def __init__(self, aws, test, still=0.0, pool="dropped", mode="http", check=0.0, path="/health", addresses=None,
                 backend=(), slots=32):
        if pool not in ("dropped", "kept"):
            raise ValueError(f"pool is dropped or kept, not {pool}")
        self.aws, self.still, self.pool, self.check = aws, still, pool, check
        self.addresses, self.servers, self.lives = dict(addresses or {}), {}, {}
        self.port, number = harness.free_port(), len(test.processes)
        self.socket, config = test.dir / f"plane{number}.sock", test.dir / f"plane{number}.cfg"
        checks = f"check inter {int(check * 1000)}ms fall 2 rise 1" if check else ""
        lines = [f"option httpchk GET {path}"] * (check > 0) + list(backend)
        config.write_text(f"""
global
    stats socket {self.socket} mode 600 level admin
    maxconn 4000
defaults
    mode {mode}
    timeout connect 2s
    timeout client 600s
    timeout server 600s
frontend front
    bind 127.0.0.1:{self.port}
    default_backend web
backend web
    balance roundrobin
{"".join(f"    {line}" + chr(10) for line in lines)}\
    server-template t {slots} 127.0.0.1:1 disabled pool-purge-delay 1h {checks}
""".lstrip())
        self.process = test.start("plane", [harness.HAPROXY, "-q", "-db", "-f", config])
        harness.wait_until(self.answers, "the data plane")

    def facts(self, target, port):
        """Of a target's server: its status, requests in flight, queued, and idle connections in the pool."""
        return self._facts(self.servers.get((target, port)))

    def wait_up(self, target, port):
        """Until it is sent requests."""
        harness.wait_until(lambda: re.match("UP|no check", self.facts(target, port).status), f"{target}:{port} to be up")

    def register(self, target, port):
        name = self.servers.get((target, port))
        if name is None:
            name = self.servers[target, port] = f"t{len(self.servers) + 1}"
            address = self.addresses.get(target) or (target if target.startswith("127.") or target == "::1"
                                                     else "127.0.0.1")
            if "No such server" in self.ask(f"set server web/{name} addr {address} port {port}"):
                raise AssertionError("the data plane has no slot left")
        self._tell(f"set server web/{name} state ready")
        self.lives[name] = self.lives.get(name, 0) + 1

    def deregister(self, target, port, until, cuts):
        """`until`: when its delay is over; `cuts`: whether what is open then is cut."""
        name = self.servers.get((target, port))
        life = self.lives.get(name)

        def still_out(action):
            return lambda: action(name) if self.lives.get(name) == life else None

        begin = self.aws.clock.now() + self.still
        if begin < until:
            self.aws.clock.at(begin, still_out(self._drain))
        self.aws.clock.at(until, still_out(self._cut if cuts else self._leave))

    def healthy(self, target, port):
        return not self.check or self.facts(target, port).status.startswith("UP")

    def quiet(self, target, port):
        """Sent nothing any more, and no request in flight."""
        facts = self.facts(target, port)
        return facts.status.startswith(("DRAIN", "MAINT")) and facts.scur == facts.qcur == 0

    def _drain(self, name):
        self._tell(f"set server web/{name} state drain")
        if self.pool == "dropped":
            self._drop(name, self.lives[name])

    def _drop(self, name, life):
        """MAINT drops the pool; what was in flight then has come back to it: so until nothing is there."""
        if self.lives.get(name) != life:
            return
        facts = self._facts(name)
        if facts.scur == facts.qcur == 0:
            if facts.status.startswith("MAINT") and not facts.idle:
                return
            self._tell(f"set server web/{name} state drain")
            self._tell(f"set server web/{name} state maint")
        self.aws.clock.at(self.aws.clock.now() + POLL, lambda: self._drop(name, life))

    def _leave(self, name):
        self._tell(f"set server web/{name} state maint")

    def _cut(self, name):
        self._tell(f"set server web/{name} state maint")
        self._tell(f"shutdown sessions server web/{name}")

    def _facts(self, name):
        names = []
        for line in self.ask("show stat web 4 -1").splitlines():
            if line.startswith("# "):
                names = line[2:].split(",")
            elif line and (row := dict(zip(names, line.split(","))))["svname"] == name:
                return Facts(row["status"], int(row["scur"]), int(row["qcur"]), int(row["idle_conn_cur"] or 0))
        return Facts("MAINT", 0, 0, 0)

    def _tell(self, line):
        answer = self.ask(line).strip()
        if answer:
            raise AssertionError(f"HAProxy answered '{line}' with '{answer}'")
