"""Real containers for live tests: runc, a root file system made by hand, no engine.

A container shares the host's network, so that HAProxy on the host's loopback reaches it, and has pid,
mount, ipc and uts namespaces of its own. Whatever becomes of a test, and even if Python is killed,
its guard deletes the container with all its processes, mounts and cgroups.
"""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess

import harness
from harness import wait_until

RUNC = shutil.which("runc") or "/usr/sbin/runc"
BUSYBOX = shutil.which("busybox") or "/bin/busybox"
APPLETS = ("sh", "cat", "ls", "ps", "sleep", "tail", "true", "usleep")

PT_INTERP = 3

# What an engine leaves to root by default: no CAP_SYS_PTRACE, no CAP_SYS_ADMIN.
CAPABILITIES = ["CAP_" + name for name in (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT")]

PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]}
SYS = [{"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]},
       {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}]


def bound(path, inside=None, writable=False):
    """A mount that shows a file or directory of the host, read-only unless told otherwise."""
    return {"destination": str(inside or path), "type": "none", "source": str(path),
            "options": ["rbind", "rw" if writable else "ro"]}


def is_static(program):
    """Whether a program needs nothing beside itself: its ELF headers name no dynamic loader."""
    image = pathlib.Path(program).read_bytes()
    table, size, count = (*struct.unpack_from("<Q", image, 32), *struct.unpack_from("<HH", image, 54))
    kinds = [struct.unpack_from("<I", image, table + number * size)[0] for number in range(count)]
    return PT_INTERP not in kinds


def busybox_root(root):
    """A small distribution: busybox, the agent, and the host's libraries for programs that need them.

    Returns its mounts.
    """
    for name in ("bin", "dev", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    mounts = [bound(harness.AGENT, "/agent"), bound(harness.AGENTCTL, "/agentctl"),
              bound(harness.OBEDIENT, "/obedient"), bound("/usr/lib")]
    for name in ("lib", "lib64"):
        if os.path.islink("/" + name):
            (root / name).symlink_to(os.readlink("/" + name))
        elif os.path.isdir("/" + name):
            mounts.append(bound("/" + name))
    if os.path.isdir("/usr/lib64"):
        mounts.append(bound("/usr/lib64"))
    return mounts


def bare_root(root):
    """One static program. Returns its mounts: none."""
    root.mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "busybox")
    return []


def scratch_root(root):
    """`FROM scratch`: the agent and one static program. Returns its mounts: none."""
    mounts = bare_root(root)
    shutil.copy(harness.AGENT, root / "agent")
    return mounts


def without(places, command):
    """runc itself wants /proc and /dev: they are unmounted before PID 1 becomes the command."""
    return ["/busybox", "sh", "-c", f'/busybox umount -l {" ".join(places)} && exec "$@"', "sh", *command]


class Container:
    """`runc run`, in the background. `command` is its PID 1.

    `lacks`: /proc or /dev, for a root with /busybox, `scratch_root`'s.
    """

    def __init__(self, test, *command, root=busybox_root, env=None, mounts=(), lacks=(), sys=True, read_only=False,
                 user=0, memory=None, pids=None):
        self.test = test
        # Unique on the machine: cgroups are named for it.
        self.id = f"{test.dir.name}-{len(test.processes)}"
        bundle = test.dir / self.id
        self.rootfs, self.state_dir = bundle / "rootfs", test.dir / "runc"
        mounts = [*root(self.rootfs), *mounts, PROC, DEV, *(SYS if sys else [])]
        resources = {"devices": [{"allow": False, "access": "rwm"}]}
        if memory is not None:
            resources["memory"] = {"limit": memory, "swap": memory}
        if pids is not None:
            resources["pids"] = {"limit": pids}
        capabilities = [] if user else [*CAPABILITIES, "CAP_SYS_ADMIN"] if lacks else CAPABILITIES
        command = without(lacks, command) if lacks else command
        (bundle / "config.json").write_text(json.dumps({
            "ociVersion": "1.0.2",
            "hostname": "lastcall",
            "root": {"path": "rootfs", "readonly": read_only},
            "process": {
                "terminal": False, "cwd": "/", "args": [str(word) for word in command],
                "user": {"uid": user, "gid": user}, "noNewPrivileges": True,
                "env": ["PATH=/bin:/"] + [f"{key}={value}" for key, value in (env or {}).items()],
                "capabilities": {kind: capabilities for kind in ("bounding", "effective", "permitted")},
            },
            "mounts": mounts,
            "linux": {
                "cgroupsPath": "/" + self.id, "resources": resources,
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
            },
        }))
        self._start_guard()
        self.run = test.start("container", [*self._runc(), "run", "--bundle", bundle, self.id])

    def _runc(self):
        return [RUNC, "--root", str(self.state_dir)]

    def _start_guard(self):
        """A process that deletes the container when our end of its pipe is closed, however."""
        delete = " ".join([*self._runc(), "delete", "--force", self.id])
        self._guard = subprocess.Popen(["/bin/sh", "-c", f"read line; exec {delete}"], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
        self.test.addCleanup(self.delete)

    def delete(self):
        self._guard.stdin.close()
        self._guard.wait(20)
        left = [path for path in cgroups_of(self.id) if path.exists()]
        if left:
            raise AssertionError(f"cgroups are left: {left}")

    def runc(self, verb, *words, code=0):
        """What a runc command about this container prints; asserts its exit code."""
        done = subprocess.run([*self._runc(), verb, *map(str, words)], capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL)
        if code is not None and done.returncode != code:
            raise AssertionError(f"runc {verb} ended with {done.returncode}, not {code}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def kill(self, number):
        """Sends PID 1 a signal, as an engine does."""
        self.runc("kill", self.id, signal.Signals(number).name)

    def exec(self, *words, code=0):
        """What a further command inside prints."""
        return self.runc("exec", self.id, *words, code=code)

    def pid(self):
        """PID 1, as the host numbers it; None before it is there."""
        try:
            state = json.loads((self.state_dir / self.id / "state.json").read_text())
        except (OSError, ValueError):
            return None
        return state["init_process_pid"]

    def wait_output(self, text, seconds=15.0):
        """Waits until something inside has printed a text."""
        def printed():
            if text in self.run.stdout():
                return True
            if not self.run.running():
                raise AssertionError(f"the container ended before it said {text!r}: {self.run.stderr()}")
            return False
        wait_until(printed, f"{text!r} from the container", seconds)

    def processes(self):
        """(state, name) of its processes by the pids they have inside: the host's view of them."""
        found = {}
        try:
            namespace = os.readlink(f"/proc/{self.pid()}/ns/pid")
        except OSError:
            return found  # not there yet, or gone
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                    lines = pathlib.Path("/proc", entry, "status").read_text().splitlines()
                    facts = dict(line.split(":", 1) for line in lines)
                    inside = int(facts["NSpid"].split()[-1])
                    found[inside] = (facts["State"].split()[0], facts["Name"].strip())
            except OSError:
                continue  # gone meanwhile
        return found

    def path(self, inside):
        """Where the host sees a path of the container's own root."""
        return self.rootfs / str(inside).lstrip("/")

    def wait(self, seconds=20.0):
        return self.run.wait(seconds)

    def stderr(self):
        return self.run.stderr()


def cgroups_of(name):
    """Where a container's cgroups are, in every hierarchy: v1, v2, or both."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        if right.split()[0] in ("cgroup", "cgroup2"):
            found.append(pathlib.Path(left.split()[4]) / name)
    return found


class ContainerTest(harness.LiveTest):
    """Base of tests that need containers; they are skipped where there can't be any."""

    trial = None  # why there can't be; empty if there can

    def setUp(self):
        super().setUp()
        if ContainerTest.trial is None:
            ContainerTest.trial = self._try()
        if ContainerTest.trial:
            self.skipTest(ContainerTest.trial)

    def _try(self):
        for program in (RUNC, BUSYBOX):
            if not os.access(program, os.X_OK):
                return f"no {os.path.basename(program)} here (scripts/setup installs it)"
        if not is_static(BUSYBOX):
            return "busybox isn't static here (Debian's busybox-static is)"
        trial = self.container("/busybox", "sh", "-c", "exit 42", root=bare_root, memory=64 << 20, pids=100)
        if trial.wait() != 42:
            return f"runc can't run a container here: {trial.stderr().strip()}"
        return ""

    def container(self, *command, **options):
        return Container(self, *command, **options)
