"""A network of a test's own, in which AWS's link-local addresses are this machine's."""
import ctypes
import os
import subprocess

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def own_network():
    """Moves this process, and what it starts from now on, into a network of its own; says if it could.

    Called before any thread is started: a thread stays in the network that it was made in.
    """
    libc, uid, gid = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if uid == 0:
        made = libc.unshare(CLONE_NEWNET) == 0
    else:
        made = libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
        if made:
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
    if not made:
        return False
    for words in (["link", "set", "lo", "up"], ["addr", "add", "169.254.169.254/32", "dev", "lo"],
                  ["addr", "add", "169.254.170.2/32", "dev", "lo"]):
        subprocess.run(["ip", *words], check=True)
    return True
