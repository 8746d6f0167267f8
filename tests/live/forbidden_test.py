"""Where the kernel won't tell: netlink forbidden in part or altogether, and /proc with it."""
import os
import sys

import drains
import harness
from harness import boot_now

# Hides /proc/net/tcp{,6} from the process that runs the command: as empty files, or altogether.
HIDE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
def mount(source, target, kind, flags):
    if libc.mount(source, target, kind, flags, None) != 0:
        sys.exit(f"cannot mount over {target}: {os.strerror(ctypes.get_errno())}")
if libc.unshare(CLONE_NEWNS) != 0:
    sys.exit("cannot make a mount namespace: " + os.strerror(ctypes.get_errno()))
mount(None, b"/", None, MS_REC | MS_PRIVATE)
net = b"/proc/%d/net" % os.getpid()  # the process that is to become the command keeps its number
mount(b"tmpfs", net, b"tmpfs", 0)
if sys.argv[1] == "empty":
    for name in (b"/tcp", b"/tcp6"):
        open(net + name, "w").close()
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Forbidden(drains.DrainTest):
    def forbid(self, what, *more, **settings):
        self.start_agent(prefix=[harness.FORBID, what, "--", *more], **settings)
        self.serve()
        self.wait_registered()

    def assert_ends_with_the_last(self):
        clients = [self.client() for _ in range(5)]
        self.assertEqual([client.get("/") for client in clients], [200] * 5)
        self.begin_stop()
        for client in clients[1:]:
            client.close()
        self.assert_drains_on(1.2)
        clients[0].close()
        closed = boot_now()
        _, drain = self.end_stop()
        self.assertEqual((drain["outcome"], drain["detail"]["connectionsPeak"]), ("completed", 5))
        self.assertEqual(drain["detail"]["connectionsAtEnd"], 0)
        # Without events it looks at an interval, of 250 ms at most.
        self.assert_signalled(closed, self.settle, self.settle + 0.25)

    def said(self, *words):
        """The log's warnings that have all these words; those that end a phase or a stop aside."""
        return [line for line in self.agent.process.stderr().splitlines()
                if "level=warn" in line and all(word in line for word in words)
                and 'msg="Phase ended"' not in line and 'msg="Task stopped"' not in line]

    def test_no_netlink_then_proc_tells_and_it_is_said_once(self):
        self.forbid("netlink")
        self.assert_ends_with_the_last()
        self.serve(name="again")
        self.begin_stop("again")
        self.end_stop()
        self.assertEqual(len(self.said("/proc/net/tcp")), 1, self.agent.process.stderr())

    def test_no_netlink_and_both_families(self):
        self.start_agent(prefix=[harness.FORBID, "netlink", "--"])
        self.serve_script("""
listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
say("listening", port=port)
serve(listener)
over()
""")
        four, six = self.client(), self.client(host="::1")
        self.begin_stop()
        six.close()
        self.assert_drains_on(0.8)
        self.assertEqual(four.get("/"), 200)
        four.close()
        closed = boot_now()
        _, drain = self.end_stop()
        self.assertEqual(drain["detail"]["connectionsPeak"], 2)
        self.assert_signalled(closed, self.settle, self.settle + 0.25)

    def test_no_netlink_and_the_accept_queue(self):
        self.start_agent(prefix=[harness.FORBID, "netlink", "--"])
        self.serve_script("listener = listen(port); asked(); serve(listener); over()")
        client = self.client().send("/")
        self.begin_stop()
        self.assert_drains_on(1.2)
        self.signal_service()
        self.assertEqual(client.response(), 200)
        client.close()
        closed = boot_now()
        self.end_stop()
        self.assert_signalled(closed, self.settle, self.settle + 0.25)

    def test_no_netlink_then_idle_still_waits_for_a_request(self):
        """/proc/net/tcp doesn't tell who rests; nobody is cut off for that."""
        self.forbid("netlink", drain="idle")
        client = self.client().send("/delay/2000")
        self.begin_stop()
        self.assertEqual(client.response(), 200)
        client.close()
        closed = boot_now()
        self.end_stop()
        self.assert_signalled(closed, self.settle, self.settle + 0.25)

    def test_no_notifications_then_it_looks_and_it_is_said_once(self):
        self.forbid("membership")
        self.assert_ends_with_the_last()
        self.serve(name="again")
        self.begin_stop("again")
        self.end_stop()
        self.assertEqual(len(self.said("notif")), 1, self.agent.process.stderr())
        self.assertEqual(self.said("/proc/net/tcp"), [])

    def test_nothing_at_all_is_the_full_delay_and_it_is_said_once(self):
        if os.geteuid() != 0:
            self.skipTest("hiding /proc/net takes root")
        for how in ("empty", "absent"):
            with self.subTest(how):
                self.forbid("netlink", sys.executable, "-c", HIDE, how, delay=3, AGENT_SOCKET=self.dir / f"{how}.sock",
                            ECS_DATADIR=self.dir / how)
                self.begin_stop(evidence=False)
                _, drain = self.end_stop()
                self.assertEqual(drain["outcome"], "timed_out")
                self.assert_took(drain["durationMs"] / 1000, 3)
                self.assertEqual(len(self.said("evidence")), 1, self.agent.process.stderr())
                self.assertNotIn("connectionsAtEnd", drain["detail"])
                self.service.path.unlink()

    def test_nothing_is_said_where_nothing_is_forbidden(self):
        self.start_agent()
        self.serve()
        self.begin_stop()
        self.end_stop()
        self.assertEqual(self.said(), [])


if __name__ == "__main__":
    harness.main()
