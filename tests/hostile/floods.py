"""Cells that send the grader messages without end, signed as the kernel signs its own."""

import contextvars
import inspect
import os
import socket
import struct
import threading
import time
from collections.abc import Callable

from tests.hostile.corpus import body_of

FLOODS: dict[str, str] = {}
"""Texts of cells by their names."""


def flood(place, kind, content, old=False):
    """Send without end; with `old`, as an answer to a question that nobody asked."""
    import hmac
    import json

    import zmq
    from IPython import get_ipython

    kernel = get_ipython().kernel
    session, parent = kernel.session, kernel.get_parent()["header"]
    socket = {"shell": lambda: kernel.shell_stream.socket, "stdin": lambda: kernel.stdin_socket}
    socket |= {"iopub": lambda: kernel.iopub_thread.socket}
    socket |= {"control": lambda: kernel.control_stream.socket}
    socket = zmq.Socket(shadow=socket[place]().underlying)
    to = [b"status"] if place == "iopub" else kernel._shell_parent_ident.get()
    parts = [session.msg_header(kind), parent | ({"msg_id": "old"} if old else {}), {}]
    parts = [json.dumps(part, default=str).encode() for part in parts]
    number = 0
    while True:
        number += 1
        # No two may be the same: those are refused.
        all_parts = [*parts, json.dumps(content | {"number": number}).encode()]
        sign = hmac.new(session.key, b"".join(all_parts), "sha256").hexdigest().encode()
        try:
            zmq.Socket.send_multipart(socket, [*to, b"<IDS|MSG>", sign, *all_parts])
        except zmq.ZMQError:
            time.sleep(0.001)


def cell(function: Callable[[], None]) -> Callable[[], None]:
    """The body of the function is the text of a cell."""
    imports = "import contextvars, os, socket, struct, threading, time\n\n"
    FLOODS[function.__name__] = imports + inspect.getsource(flood) + "\n\n" + body_of(function)
    return function


@cell
def floods_the_shell():
    """Answers a question that nobody asked, so fast that nobody looks at the time."""
    flood("shell", "execute_reply", {"status": "ok"}, old=True)


@cell
def says_that_it_is_busy():
    """Says without end that the cell is running."""
    flood("iopub", "status", {"execution_state": "busy"})


@cell
def answers_at_once_and_for_ever():
    """Says that the cell has ended, and never that its output has."""
    flood("shell", "execute_reply", {"status": "ok", "execution_count": 1})


@cell
def floods_with_large_messages():
    """The same with messages of ten million characters."""
    flood("shell", "execute_reply", {"status": "6" * 10_000_000}, old=True)


@cell
def opens_widgets_for_ever():
    """Opens widgets that nobody knows."""
    flood("iopub", "comm_open", {"comm_id": "a", "target_name": "a", "data": {}})


@cell
def asks_for_input_and_answers_interrupts():
    """Fills the channels that nobody reads."""
    for place, kind in (("stdin", "input_request"), ("control", "interrupt_reply")):
        here = contextvars.copy_context()
        threading.Thread(target=here.run, args=(flood, place, kind, {"prompt": "6"})).start()
    time.sleep(1000)


@cell
def begins_a_message_that_never_ends():
    """Writes past ZeroMQ, on every connection, parts of a message of which each says: more."""

    def write(connection):
        part = b"\x03" + struct.pack(">Q", 1_000_000) + b"6" * 1_000_000
        while True:
            connection.sendall(part)

    for number in range(3, 1000):
        try:
            connection = socket.socket(fileno=os.dup(number))
            connection.getpeername()
        except OSError:
            continue
        connection.setblocking(True)
        threading.Thread(target=write, args=(connection,)).start()
    time.sleep(1000)


@cell
def floods_when_it_is_asked():
    """Waits until its function is judged."""

    def linear_attention(q, k, v, feature_map):
        flood("shell", "execute_reply", {"status": "ok"}, old=True)
