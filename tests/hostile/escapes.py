"""Reach for the machine, the network, and other people's work."""

import ctypes
import glob
import os
import socket
import time
from contextlib import suppress

from tests.hostile.corpus import KNOWN, WON, cell

# Each says WON where it got through; its own exercises should be graded as if it had not tried.


@cell()
def reads_what_others_handed_in():
    """Reads another student's notebook, the gradebook, the sources and a file of the machine."""
    for name in ("other", "gradebook", "source", "canary"):
        with suppress(OSError), open(KNOWN[name]) as file:
            print(WON, file.read())
    for path in (KNOWN["other"], KNOWN["course"]):
        for way in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/self/cwd/../../.."):
            with suppress(OSError):
                print(WON, os.stat(way + path))


@cell()
def writes_to_the_gradebook():
    """Writes to the gradebook, to another's work and to the course, making folders on its way."""
    for name in ("gradebook", "other", "source", "canary"):
        with suppress(OSError):
            os.makedirs(os.path.dirname(KNOWN[name]), exist_ok=True)
            with open(KNOWN[name], "a") as file:
                file.write("6")


@cell()
def becomes_root():
    """Becomes root, and leaves its namespaces and its root folder."""
    libc = ctypes.CDLL(None)
    for become in (os.setuid, os.setgid, os.seteuid):
        with suppress(OSError):
            become(0)
            print(WON)
    for namespace in glob.glob("/proc/1/ns/*"):
        with suppress(OSError):
            if libc.setns(os.open(namespace, os.O_RDONLY), 0) == 0:
                print(WON, namespace)
    with suppress(OSError):
        os.chroot("/scratch")
        print(WON)


@cell()
def speaks_to_the_network():
    """Connects to the internet, to the grader's own ports, and through sockets without a file."""
    inet, unix = socket.AF_INET, socket.AF_UNIX
    for family, address in (
        (inet, ("1.1.1.1", 53)),
        (inet, ("127.0.0.1", int(KNOWN["port"]))),
        (unix, "\0" + KNOWN["abstract"]),
        (unix, KNOWN["unix"]),
        (unix, "/var/run/docker.sock"),
        (unix, "/run/dbus/system_bus_socket"),
    ):
        with socket.socket(family) as client, suppress(OSError):
            client.settimeout(1)
            client.connect(address)
            print(WON, address)


@cell()
def speaks_to_the_host_of_a_virtual_machine():
    """Makes a socket to the machine that this one runs on, which no network namespace holds."""
    with suppress(OSError):
        print(WON, socket.socket(socket.AF_VSOCK))


@cell()
def reads_the_graders_keys():
    """Reads keys that the kernel keeps for the session in which the grader was started."""
    keyctl, search, read, session = int(KNOWN["keyctl"]), 10, 11, ctypes.c_int(-3)
    libc, text = ctypes.CDLL(None), ctypes.create_string_buffer(100)
    key = libc.syscall(keyctl, search, session, b"user", KNOWN["key"].encode(), 0)
    if libc.syscall(keyctl, read, key, text, len(text)) > 0:
        print(WON, text.value)


@cell()
def leads_the_grader_elsewhere():
    """Puts links to a socket of the machine in the place of its own, and hangs up on the grader."""
    folder = "/scratch/kernel"
    for name in os.listdir(folder):
        if name.startswith("socket"):
            os.unlink(f"{folder}/{name}")
            os.symlink(KNOWN["unix"], f"{folder}/{name}")
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            held = socket.socket(fileno=os.dup(int(descriptor)))
            if str(held.getsockname()).startswith(folder) and held.getpeername() is not None:
                held.shutdown(socket.SHUT_RDWR)
            held.close()
    time.sleep(2)
