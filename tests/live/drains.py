"""Drains that only the kernel's evidence can end: a task behind a readiness endpoint that nobody probes."""
import json
import os
import signal
import sys

import harness
from harness import Agent, assert_stays, free_port, phase_of, wait_until

# What a scripted service begins with; each test says how it goes on. It does nothing by itself.
PRELUDE = """
import json, os, signal, socket, sys, threading, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
port = int(sys.argv[2])
def say(event, **facts):
    facts |= {"event": event, "boot": int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1e6), "pid": os.getpid()}
    os.write(out, json.dumps(facts).encode() + b"\\n")
def listen(number, **options):
    listener = socket.create_server(("127.0.0.1", number), **options)
    say("listening", port=number)
    return listener
def serve(listener):
    def converse(client):
        with client:
            while head := client.recv(65536):
                client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n")
    def accept():
        while True:
            threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
def asked():
    signal.sigwait({signal.SIGUSR1})
    say("asked")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
def over():
    signal.sigwait({signal.SIGTERM})
    say("signal", signal=15)
    os._exit(0)
"""


class DrainTest(harness.LiveTest):
    """One agent, any number of tasks, of which "web" is the usual one."""

    IDLE, SETTLE = 1.0, 0.2

    def start_agent(self, drain="closed", delay=15, settle=SETTLE, prefix=(), **environment):
        self.agent = Agent(self, prefix=prefix, AGENT_DRAIN=drain, AGENT_DRAIN_IDLE=self.IDLE,
                           AGENT_DEREGISTRATION_DELAY=delay, **environment)
        self.settle, self.probed = settle, False

    def readiness(self, host="127.0.0.1"):
        address = f"[{host}]" if ":" in host else host
        self.ready_port, self.ready_host = free_port(host), host
        return f"readiness://{address}:{self.ready_port}/ready?settle={int(self.settle * 1000)}ms"

    def probe(self):
        """The status of the last task's readiness; None while nobody listens."""
        self.probed = True
        try:
            return harness.Client(self.ready_port, self.ready_host).get("/ready")
        except OSError:
            return None

    def wait_registered(self):
        wait_until(lambda: self.probe() == 200, "the task to be registered")

    def serve(self, *options, name="web", flags=()):
        """An obedient service as a task whose ports the agent finds; sets `port` and `journal`."""
        self.port, self.service = free_port(), self.journal(name)
        self.agent.run(name, *self.obedient(self.port, *options, journal=self.service),
                       load_balancers=[self.readiness()], flags=flags)
        wait_until(lambda: self.service.events("listening"), f"{name} to listen")

    def serve_script(self, script, *arguments, name="web", listening=1, flags=()):
        """The same with a scripted service."""
        self.port, self.service = free_port(), self.journal(name)
        self.agent.run(name, *self.scripted(script, *arguments), load_balancers=[self.readiness()], flags=flags)
        wait_until(lambda: len(self.service.events("listening")) == listening, f"{name} to listen")

    def scripted(self, script, *arguments):
        return [sys.executable, "-c", PRELUDE + script, self.service.path, self.port, *arguments]

    def signal_service(self, number=signal.SIGUSR1, name="web"):
        os.kill(self.agent.task(name)["containers"][0]["pid"], number)

    def client(self, port=None, host="127.0.0.1"):
        client = harness.Client(self.port if port is None else port, host)
        self.addCleanup(client.close)
        return client

    def begin_stop(self, name="web", *flags, evidence=True):
        """A stop under way, in its DRAIN, whose first look is over."""
        self.stopping = self.agent.start_ctl("stop", name, "--output", "json", *flags)
        def over():
            return not self.stopping.running()
        if self.probed:  # who has probed must have had the failure
            wait_until(lambda: over() or self.probe() == 503 and self.drains(name), f"{name} to drain")
        wait_until(lambda: over() or self.drains(name) and (not evidence or self.has_looked(name)), f"{name} to drain")
        return self.stopping

    def assert_drains_on(self, seconds, service=None):
        """From outside: asking the agent would wake it."""
        service = service or self.service
        assert_stays(lambda: service.signalled() is None, "no SIGTERM", seconds)

    def drains(self, name="web"):
        stopping = (self.agent.task(name) or {}).get("stopping")
        phases = stopping["stop"]["phases"] if stopping else []
        return bool(phases) and phases[-1]["phase"] == "DRAIN"

    def has_looked(self, name):
        return ((self.agent.task(name) or {}).get("stopping") or {}).get("connections") is not None

    def end_stop(self):
        """The record of the stop, and its DRAIN."""
        self.assertEqual(self.stopping.wait(), 0, self.stopping.stderr())
        record = json.loads(self.stopping.stdout())
        return record, phase_of(record, "DRAIN")

    def assert_signalled(self, moment, after, at_most=None, service=None):
        """SIGTERM came `after` seconds after `moment` of boot time."""
        signalled = (service or self.service).signalled()
        self.assertIsNotNone(signalled, "no SIGTERM")
        self.assert_took(signalled - moment, after, at_most, "SIGTERM")
