"""The world that live tests act in: HAProxy, agents, services and load, all of it real.

Everything lives in one temporary directory and on loopback ports that were free a moment ago. Every
process that a test causes, orphans included, is killed at its end. Nothing waits for time to pass:
`wait_until` waits for the thing itself, with a bound.
"""
import ctypes
import datetime
import errno
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("LASTCALL_BIN", ROOT / "build/release/bin"))
AGENT, AGENTCTL = str(BIN / "agent"), str(BIN / "agentctl")
OBEDIENT, LOAD, FORBID = str(BIN / "obedient"), str(BIN / "load"), str(BIN / "forbid")
HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"

# A busy two-core machine, and sanitizers, are slow at times, never early: lower bounds are strict,
# upper bounds allow this much.
SLACK = 0.9

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def wait_until(condition, what, seconds=15.0):
    """What `condition` returns as soon as that is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.005)


def assert_stays(condition, what, seconds):
    """Fails if `condition` is once not true within `seconds`: what mustn't happen takes time to not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            raise AssertionError(f"it wasn't so for {seconds} s: {what}")
        time.sleep(0.01)


def boot_now():
    """Seconds of CLOCK_BOOTTIME: what services, clients and agents stamp events with."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_of(utc):
    """A record's "2026-01-31T12:00:00.000000Z" as seconds of CLOCK_BOOTTIME."""
    moment = datetime.datetime.strptime(utc, "%Y-%m-%dT%H:%M:%S.%fZ")
    wall = moment.replace(tzinfo=datetime.timezone.utc).timestamp()
    return wall - (time.time() - boot_now())


# Below those that the kernel gives to clients (ip_local_port_range), and each test program from a
# place of its own: what is free now is then free when it is bound, also beside another program.
_PORTS = range(10240, 32640)
_next_port = os.getpid() % 112 * 200


def free_port(address="127.0.0.1"):
    global _next_port
    for _ in _PORTS:
        port = _PORTS[_next_port % len(_PORTS)]
        _next_port += 1
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
    raise AssertionError(f"no port is free on {address}")


def clean_environment(**extra):
    """Ours without anything that would configure an agent, then `extra`."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("AGENT_", "ECS_", "LASTCALL_"))}
    return ours | {key: str(value) for key, value in extra.items()}


def request(path, method, target, body=None, timeout=30):
    """(status, decoded body) of one request to a control socket."""
    connection = http.client.HTTPConnection("agent", timeout=timeout)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(timeout)
    with connection.sock:
        connection.sock.connect(str(path))
        payload = None if body is None else json.dumps(body)
        connection.request(method, target, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
    kind = response.getheader("Content-Type", "")
    return response.status, json.loads(text) if "json" in kind and text else text


class Process:
    """A program in a session of its own, its output in files."""

    def __init__(self, test, name, command, env=None, cwd=None):
        self.name, self.command = name, [str(word) for word in command]
        count = len(test.processes)
        self.out, self.err = (test.dir / f"{name}.{count}.{kind}" for kind in ("out", "err"))
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.popen = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                env=clean_environment() if env is None else env, start_new_session=True,
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self.pid = self.popen.pid
        test.processes.append(self)

    def signal(self, number):
        self.popen.send_signal(number)

    def running(self):
        return self.popen.poll() is None

    def wait(self, seconds=20.0):
        """The exit code as a shell has it."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds} s") from None
        return code if code >= 0 else 128 - code

    def kill(self):
        if self.running():
            self.popen.kill()
        self.popen.wait()

    def stdout(self):
        return self.out.read_text(errors="replace")

    def stderr(self):
        return self.err.read_text(errors="replace")


def json_lines(path):
    """The whole lines of a JSON Lines file that may be growing."""
    if not pathlib.Path(path).exists():
        return []
    text = pathlib.Path(path).read_text()
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


class ServiceJournal:
    """What an obedient service wrote down, its incarnations one after the other."""

    def __init__(self, path):
        self.path = path

    def events(self, kind=None):
        events = json_lines(self.path)
        return [e for e in events if kind is None or e["event"] == kind]

    def requests(self):
        return self.events("request")

    def signalled(self, number=signal.SIGTERM):
        """When the signal first arrived, in seconds of boot time; None if it didn't."""
        times = [e["boot"] / 1e6 for e in self.events("signal") if e["signal"] == number]
        return times[0] if times else None


class HaproxyAdmin:
    """The admin socket, at `self.socket`, of the HAProxy that runs as `self.process`."""

    def answers(self):
        if not self.process.running():
            raise AssertionError("HAProxy ended: " + self.process.stderr())
        try:
            return self.ask("show info")
        except OSError:
            return None

    def ask(self, line, timeout=5.0):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(timeout)
            admin.connect(str(self.socket))
            admin.sendall(line.encode() + b"\n")
            parts = []
            while part := admin.recv(65536):
                parts.append(part)
        return b"".join(parts).decode()


class Haproxy(HaproxyAdmin):
    """HAProxy with one backend "web" of the given servers, and an admin socket.

    The servers begin in maintenance, so that `wait_ready` sees a registration and nothing else.
    `server_options` may differ by server (a dict); `backend` are further lines of that section.
    """

    def __init__(self, test, servers, check=False, level="admin", server_options="disabled", mode="http",
                 backend=()):
        self.test, self.servers = test, dict(servers)
        self.port, self.admin_port = free_port(), free_port()
        self.socket = test.dir / "haproxy.sock"
        self.config = test.dir / "haproxy.cfg"
        checked = "check inter 100ms fall 2 rise 1" if check else ""
        of = server_options if isinstance(server_options, dict) else dict.fromkeys(self.servers, server_options)
        lines = [f"    {line}" for line in backend]
        lines += [f"    server {name} 127.0.0.1:{port} {checked} {of[name]}" for name, port in self.servers.items()]
        self.config.write_text(f"""
global
    stats socket {self.socket} mode 600 level {level}
    stats socket ipv4@127.0.0.1:{self.admin_port} level {level}
    maxconn 2000
defaults
    mode {mode}
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{self.port}
    default_backend web
backend web
    {"option httpchk GET /health" if check else ""}
{chr(10).join(lines)}
""".lstrip())
        self.process = None
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = self.test.start("haproxy", [HAPROXY, "-db", "-f", self.config])
        wait_until(self.answers, "HAProxy's admin socket")

    def server(self, name):
        """admin_state, scur, qcur and status of a server, now."""
        return server_of(self.ask("show servers state web; show stat web 4 -1"), name)

    def wait_ready(self, name):
        wait_until(lambda: not self.server(name)["admin_state"] & 0x09, f"{name} to be ready")

    def url(self, name, **parameters):
        more = "".join(f"&{key}={value}" for key, value in parameters.items())
        return f"haproxy://{self.socket}?server=web/{name}{more}"

    def tcp_url(self, name):
        return f"haproxy://127.0.0.1:{self.admin_port}?server=web/{name}"


def server_of(answer, name):
    """One server's facts out of HAProxy's answer to `show servers state; show stat`."""
    facts, names = {}, []
    for line in answer.splitlines():
        if line.startswith("# be_id"):
            names, separator = line[2:].split(" "), " "
        elif line.startswith("# pxname"):
            names, separator = line[2:].split(","), ","
        elif names and line:
            row = dict(zip(names, line.split(separator)))
            if row.get("srv_name") == name:
                facts["admin_state"] = int(row["srv_admin_state"])
            elif row.get("svname") == name:
                facts |= {"scur": int(row["scur"]), "qcur": int(row["qcur"]), "status": row["status"]}
    return facts


class Client:
    """One keep-alive connection, held by hand."""

    def __init__(self, port, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=20)

    def send(self, path):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        return self

    def response(self):
        """The status of one whole answer; None if the other side closed instead."""
        answer = http.client.HTTPResponse(self.socket)
        try:
            answer.begin()
            answer.read()
        except (http.client.HTTPException, ConnectionError):
            return None
        return answer.status

    def get(self, path):
        return self.send(path).response()

    def closed(self):
        patience = self.socket.gettimeout()
        self.socket.setblocking(False)  # Python would wait for a byte before it asks the kernel
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(patience)

    def close(self):
        self.socket.close()


class Load:
    """The load client in the background."""

    def __init__(self, test, port, *options, connections=20, rate=200, seconds=60):
        self.journal = test.dir / f"load.{len(test.processes)}.journal"
        self.process = test.start("load", [
            LOAD, "--url", f"http://127.0.0.1:{port}/", "--connections", connections, "--rate", rate,
            "--seconds", seconds, "--keep-alive", "--journal", self.journal, *options])

    def requests(self):
        return json_lines(self.journal)

    def finish(self):
        """Ends it (what is in flight is finished) and returns its counts."""
        self.process.signal(signal.SIGTERM)
        code = self.process.wait(30)
        if code != 0:
            raise AssertionError(f"load ended with {code}: {self.process.stderr()}")
        return json.loads(self.process.stdout())


class Agent:
    """`agent serve`, and agentctl to talk to it."""

    def __init__(self, test, *flags, prefix=(), wait=True, binary=None, **environment):
        self.test = test
        self.data = pathlib.Path(environment.pop("ECS_DATADIR", test.dir / "data"))
        self.socket = pathlib.Path(environment.pop("AGENT_SOCKET", test.dir / "agent.sock"))
        self.environment = environment
        self.process = test.start(
            "agent", [*prefix, binary or AGENT, "serve", *flags],
            clean_environment(ECS_DATADIR=self.data, AGENT_SOCKET=self.socket, **environment))
        if wait:
            wait_until(self._answers, "the agent's control socket")

    def _answers(self):
        if not self.process.running():
            raise AssertionError("the agent ended: " + self.process.stderr())
        return answers(self.socket)

    def request(self, method, target, body=None, timeout=30):
        return request(self.socket, method, target, body, timeout)

    def ctl(self, *arguments, code=0, timeout=60, env=None):
        """Runs agentctl; asserts its exit code; returns what it printed, decoded if JSON was asked for."""
        done = self.ctl_process(*arguments, timeout=timeout, env=env)
        if code is not None and done.returncode != code:
            raise AssertionError(f"agentctl {' '.join(map(str, arguments))} ended with {done.returncode}, "
                                 f"not {code}:\n{done.stdout}{done.stderr}")
        if "json" in arguments and done.returncode == 0:
            return json.loads(done.stdout)
        return done.stdout + done.stderr

    def ctl_process(self, *arguments, timeout=60, env=None):
        return subprocess.run(
            [AGENTCTL, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL,
            env=clean_environment(AGENT_SOCKET=self.socket) if env is None else env)

    def start_ctl(self, *arguments):
        """agentctl in the background: a second shell."""
        return self.test.start("agentctl", [AGENTCTL, *arguments],
                               clean_environment(AGENT_SOCKET=self.socket))

    def run(self, name, *command, port=None, load_balancers=(), flags=()):
        words = ["run", "--name", name]
        if port is not None:
            words += ["--port", port]
        for url in load_balancers:
            words += ["--load-balancer", url]
        return self.ctl(*words, *flags, "--", *command)

    def task(self, name):
        status, task = self.request("GET", f"/v1/tasks/{name}")
        return task if status == 200 else None

    def stops(self, name):
        status, answer = self.request("GET", f"/v1/tasks/{name}/stops")
        if status != 200:
            raise AssertionError(f"no stops of {name}: {status} {answer}")
        return answer["stops"]

    def wait_status(self, name, wanted, seconds=20.0):
        return wait_until(lambda: (task := self.task(name)) and task["lastStatus"] == wanted and task,
                          f"{name} to be {wanted}", seconds)

    def wait_phase(self, name, phase, seconds=20.0):
        """Waits until the stop in progress has come to a phase."""
        def reached():
            stopping = (self.task(name) or {}).get("stopping")
            return stopping and any(p["phase"] == phase for p in stopping["stop"]["phases"])
        return wait_until(reached, f"{name} to come to {phase}", seconds)


def peers_of(pid, port):
    """The clients' ports of a process's IPv4 connections on a local port."""
    sockets = set()
    for link in os.listdir(f"/proc/{pid}/fd"):
        try:
            sockets.add(os.readlink(f"/proc/{pid}/fd/{link}"))
        except FileNotFoundError:
            continue
    found = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].split(":")[1], 16) == port and f"socket:[{words[9]}]" in sockets:
            found.add(int(words[2].split(":")[1], 16))
    return found - {0}


def answers(path):
    try:
        return request(path, "GET", "/healthz", timeout=5)[0] == 200
    except OSError:
        return False


def phases_of(record):
    """Their names, in order; but CLEANUP, which is there where a cgroup could be made."""
    return [p["phase"] for p in record["phases"] if p["phase"] != "CLEANUP"]


def phase_of(record, name):
    """The one phase of that name in a record; None if it isn't listed."""
    found = [p for p in record["phases"] if p["phase"] == name]
    return found[0] if found else None


class LiveTest(unittest.TestCase):
    """Base of all live tests."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGALRM, _too_late)
        signal.alarm(280)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="lastcall-"))
        self.processes = []
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.addCleanup(kill_descendants)
        self.addCleanup(self._tell)
        self.addCleanup(self._check_sanitizers)

    def _check_sanitizers(self):
        for process in self.processes:
            if matches(r"Sanitizer|runtime error:", text := process.stderr()):
                self.fail(f"{process.name} ({process.pid}) was caught:\n{text[:6000]}")

    def _tell(self):
        """After a failure: the last words of everybody."""
        result = self._outcome.result
        broken = [getattr(test, "test_case", test) for test, _ in result.failures + result.errors]
        if not any(test is self for test in broken):
            return
        for process in self.processes:
            for kind, text in (("out", process.stdout()), ("err", process.stderr())):
                if text:
                    print(f"--- {process.name} ({process.pid}), std{kind}:\n{text[-4000:]}", file=sys.stderr)

    def start(self, name, command, env=None, cwd=None):
        return Process(self, name, command, env, cwd)

    def agent_run(self, *words, prefix=(), flags=(), **environment):
        """`agent run -- words`, started."""
        return self.start("run", [*prefix, AGENT, "run", *flags, "--", *words],
                          clean_environment(**environment))

    def obedient(self, port, *options, journal=None):
        """The command line of an obedient service."""
        words = [OBEDIENT, "--listen", f"127.0.0.1:{port}", *options]
        return words + (["--journal", journal.path] if journal else [])

    def journal(self, name="service"):
        return ServiceJournal(self.dir / f"{name}.journal")

    def assert_took(self, seconds, at_least, at_most=None, what="it"):
        """Never early; late by the machine's slack at most."""
        self.assertGreaterEqual(seconds, at_least - 0.002, f"{what} was early")
        self.assertLess(seconds, (at_least if at_most is None else at_most) + SLACK, f"{what} was late")


def _too_late(*_):
    raise TimeoutError("the whole file took too long")


def descendants():
    """Everybody below this process, orphans included: it is their subreaper."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            state, parent = stat[stat.rindex(")") + 2:].split()[:2]
            parents[int(entry)] = (int(parent), state)
    found, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, (parent, _) in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return {pid: parents[pid][1] for pid in found - {os.getpid()}}


def kill_descendants():
    def gone():
        for pid in descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        return not descendants()
    wait_until(gone, "everybody to be gone", 10)


def matches(pattern, text):
    return re.search(pattern, text) is not None


def main():
    unittest.main(warnings="ignore")
