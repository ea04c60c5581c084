"""Send the grader other messages than a kernel would."""

import inspect
import json
import threading
import time
from functools import partial

from tests.hostile.corpus import ATTACKED, cell


def send(kind, content):
    """Send a message from the cell that runs, whatever it holds."""
    from IPython import get_ipython

    kernel = get_ipython().kernel
    kernel.session.pack = lambda part: json.dumps(part, default=str).encode()
    kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())


message = partial(cell, before=inspect.getsource(send) + "\n\n")


@cell()
def patches_the_session():
    """Turns every message that the kernel sends into a report of full points."""
    from IPython import get_ipython

    from autograder.report import Line, Report

    session = get_ipython().kernel.session
    honest = session.send
    report = Report("linear_attention", (Line("everything", 6, ""),))._repr_mimebundle_()

    def forged(socket, kind, *args, **kwargs):
        if kind in ("stream", "display_data", "error"):
            kind, args = "execute_result", ({"data": report, "metadata": {}, "execution_count": 1},)
        return honest(socket, kind, *args, **kwargs)

    session.send = forged
    print("6")


@message()
def numbers_its_prompt_with_a_text():
    """Says that the cell has a prompt which no notebook can hold."""
    output = {"data": {"text/plain": "6"}, "metadata": {}}
    send("execute_result", output | {"execution_count": {"\ud800": [float("inf")]}})


@message()
def shows_what_cannot_be_written():
    """Shows half a surrogate pair, NaN, a key that is a number, and data of the wrong types."""
    for data in ({"text/plain": "\ud800"}, {"\ud800": float("nan")}, {"text/plain": {}}, [], "6"):
        send("display_data", {"data": data, "metadata": {}})
    send("stream", {"name": "stdout", "text": ["6", None]})


@message()
def shows_nested_data():
    """Shows data that is nested almost as deeply as can be read."""
    nested = {}
    for _ in range(475):
        nested = {"a": nested}
    send("display_data", {"data": {"application/json": nested}, "metadata": {}})


@message()
def sends_deeper_nesting_than_can_be_read():
    """Sends a message that is nested a hundred thousand times."""
    import json

    from IPython import get_ipython

    session = get_ipython().kernel.session
    session.pack = lambda part: b"[" * 100_000 if "deep" in part else json.dumps(part).encode()
    session.send(get_ipython().kernel.iopub_socket, "stream", {"deep": 1})


@message()
def sends_what_is_no_message():
    """Sends messages of unknown kinds, and with other things than content."""
    for kind in (
        "",
        "execute_reply",
        "comm_open",
        "comm_msg",
        "clear_output",
        "status",
        "x" * 1000,
    ):
        for content in ({}, {"data": 1}, {"execution_state": ["idle"]}, {"comm_id": {}}):
            send(kind, content)


@message()
def says_at_once_that_it_has_ended():
    """Says that the cell has ended, and goes on sending its outputs to the cells after it."""

    def later():
        for _ in range(200):
            send("display_data", {"data": {"text/plain": "6"}, "metadata": {}})
            time.sleep(0.02)

    send("status", {"execution_state": "idle"})
    threading.Thread(target=later).start()


@message()
def opens_a_widget_that_repeats_everything():
    """Has the grader send back all outputs of a cell for each one more: gigabytes of them."""
    from IPython import get_ipython

    shown_by = get_ipython().kernel.get_parent()["header"]["msg_id"]
    model = {"_model_name": "OutputModel", "_model_module": "@jupyter-widgets/output"}
    state = model | {"_view_module": "", "outputs": [], "msg_id": shown_by}
    opening = {"comm_id": "a", "target_name": "jupyter.widget", "data": {"state": state}}
    send("comm_open", opening)
    send("comm_msg", {"comm_id": "a", "data": {"state": {"msg_id": shown_by}}})
    for _ in range(1000):
        send("display_data", {"data": {"text/plain": "6" * 2000}, "metadata": {}})


@message("it printed more than")
def floods_with_updates():
    """Updates a display without end."""
    while True:
        shown = {"data": {"text/plain": "6" * 10_000}, "metadata": {}}
        send("update_display_data", shown | {"transient": {"display_id": "a"}})


@message("left out: a notebook may show 3 MB", at=ATTACKED)
def shows_a_giant():
    """Shows one message that is larger than everything that may be shown."""
    send("display_data", {"data": {"text/plain": "6" * 8_000_000}, "metadata": {}})
