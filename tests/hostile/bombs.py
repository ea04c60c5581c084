"""Use up time, memory, processes, disk and output."""

import ctypes
import mmap
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress

from tests.hostile.corpus import ATTACKED, KNOWN, WON, cell

TIMEOUT = "CellTimeoutError"
TOO_LONG = "Your function took longer than"
DIED = "DeadKernelError"
MEMORY = "GB of memory"
REFUSED = "PermissionError"
PRINTED = "it printed more than"
LEFT_OUT = "left out: a notebook may show 3 MB"
FULL = "No space left on device"
ENDED = "The Python process ended while your function ran"


# --- Time ----------------------------------------------------------------------------------------


@cell(TIMEOUT)
def loops_for_ever_in_a_cell():
    """Loops for ever, and through every interrupt."""
    while True:
        with suppress(KeyboardInterrupt):
            while True:
                pass


@cell(TOO_LONG, at=ATTACKED)
def loops_for_ever_in_a_function():
    """Loops for ever, and through every interrupt, when it is judged."""

    def linear_attention(q, k, v, feature_map):
        while True:
            with suppress(KeyboardInterrupt):
                while True:
                    pass


@cell(TOO_LONG, at=ATTACKED)
def sleeps_in_a_function():
    """Blocks all signals, and waits for something that never comes."""

    def linear_attention(q, k, v, feature_map):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        threading.Event().wait()


@cell(TIMEOUT)
def waits_for_its_input():
    """Asks a person who is not there."""
    with suppress(Exception):
        input()
    os.read(os.pipe()[0], 1)


# --- Its own process -----------------------------------------------------------------------------


@cell(DIED)
def exits_in_a_cell():
    """Ends the process in a cell."""
    os._exit(0)


@cell(ENDED, at=ATTACKED)
def exits_in_a_function():
    """Ends the process when it is judged."""

    def linear_attention(q, k, v, feature_map):
        os._exit(0)


@cell(ENDED, at=ATTACKED)
def kills_everything():
    """Sends SIGKILL to all that it can reach, to its parent, and to itself."""

    def linear_attention(q, k, v, feature_map):
        for process in (-1, 1, os.getppid(), os.getpid()):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)


@cell(at=ATTACKED, told=ENDED)
def crashes():
    """Reads from address 0."""

    def linear_attention(q, k, v, feature_map):
        ctypes.string_at(0)


# --- Memory --------------------------------------------------------------------------------------


@cell("MemoryError")
def takes_all_memory():
    """Takes memory until there is none."""
    held = []
    while True:
        held.append(bytearray(10**8))


@cell(MEMORY)
def takes_all_memory_in_many_processes():
    """Takes a little less than is allowed, in each of many processes."""
    for _ in range(20):
        if os.fork() == 0:
            held = bytearray(b"6") * 300_000_000
            time.sleep(100 + len(held))
    time.sleep(100)


@cell(REFUSED)
def takes_shared_memory():
    """Takes memory that belongs to no one process, and does not hold it itself."""
    held = []
    while True:
        held.append(mmap.mmap(-1, 10**8))
        held[-1].write(bytes(10**8))
        held[-1].madvise(mmap.MADV_DONTNEED)


@cell("No such device")
def shares_zeros():
    """Takes shared memory from the device that gives zeros."""
    with open("/dev/zero", "r+b") as zeros:
        held = [mmap.mmap(zeros.fileno(), 10**8) for _ in range(100)]
    for piece in held:
        piece.write(bytes(10**8))
        piece.madvise(mmap.MADV_DONTNEED)


@cell(MEMORY)
def takes_memory_under_a_name_that_is_no_text():
    """Takes memory in processes whose names are no text, and look like what the kernel tells."""
    name = b"\xff) R 1\nRssAnon:\t0 kB"
    for _ in range(20):
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, name, 0, 0, 0)
            held = bytearray(b"6") * 300_000_000
            time.sleep(100 + len(held))
    time.sleep(100)


@cell(MEMORY)
def takes_memory_when_its_first_thread_has_ended():
    """Takes memory in processes of which only a second thread lives."""
    leave = {"x86_64": 60, "aarch64": 93}[os.uname().machine]

    def hold():
        held = bytearray(b"6") * 300_000_000
        time.sleep(100 + len(held))

    for _ in range(20):
        if os.fork() == 0:
            threading.Thread(target=hold).start()
            ctypes.CDLL(None).syscall(leave, 0)
    time.sleep(100)


@cell(MEMORY)
def takes_memory_in_sockets():
    """Takes memory in messages that nobody reads, with buffers as large as it gets."""
    for _ in range(20):
        if os.fork() == 0:
            held = [socket.socketpair() for _ in range(400)]
            for end in (end for pair in held for end in pair):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10**8)
                end.setblocking(False)
                end.send(bytes(10**6))
            time.sleep(100)
    time.sleep(100)


@cell(MEMORY)
def takes_memory_in_tables_of_pages():
    """Reads one byte in every two megabytes, which holds nothing but the tables that lead there."""
    step, size = 2**21, 2**36
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 5]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    while True:
        start = libc.mmap(None, size, mmap.PROT_READ, 0x4022, 2**64 - 1, 0)
        libc.madvise(start, size, 15)  # no large pages
        for place in range(start, start + size, step):
            ctypes.c_char.from_address(place).value  # noqa: B018


@cell(REFUSED)
def takes_semaphores():
    """Takes memory in System V semaphores."""
    for _ in range(1000):
        if ctypes.CDLL(None).syscall(int(KNOWN["semget"]), 0, 32_000, 0o1600) < 0:
            raise PermissionError
    print(WON)


@cell(REFUSED)
def takes_files_in_memory():
    """Takes memory in files that have no name, and that nobody maps."""
    for number in range(50):
        os.write(os.memfd_create(str(number)), bytes(50_000_000))
    print(WON)


@cell(REFUSED)
def takes_segments():
    """Takes memory in System V segments that nobody has attached."""
    libc = ctypes.CDLL(None)
    libc.shmat.restype, libc.shmdt.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    for _ in range(50):
        segment = libc.shmget(0, ctypes.c_size_t(50_000_000), 0o1600)
        if segment < 0:
            raise PermissionError
        address = libc.shmat(segment, None, 0)
        ctypes.memset(address, 1, 50_000_000)
        libc.shmdt(address)
    print(WON)


@cell()
def mounts_a_disk_of_its_own():
    """Mounts a file system in memory that nobody has bounded, as root of its own namespace."""
    mount = """
    import ctypes, os
    ids, libc = (os.getuid(), os.getgid()), ctypes.CDLL(None)
    assert libc.unshare(0x10020000) == 0
    open("/proc/self/setgroups", "w").write("deny")
    open("/proc/self/uid_map", "w").write(f"0 {ids[0]} 1")
    open("/proc/self/gid_map", "w").write(f"0 {ids[1]} 1")
    assert libc.mount(b"tmpfs", b"/scratch/home", b"tmpfs", 0, b"size=9G") == 0
    for i in range(50):
        open(f"/scratch/home/{i}", "wb").write(bytes(50_000_000))
    """
    if subprocess.run([sys.executable, "-c", textwrap.dedent(mount)]).returncode == 0:
        print(WON)


@cell()
def fills_every_folder_in_memory():
    """Fills all folders that it may write to but that of the judge."""
    for place in ("/dev/shm", "/tmp", "/scratch"):
        with suppress(OSError), open(f"{place}/large", "wb") as file:
            while True:
                file.write(bytes(1_000_000))


# --- Processes -----------------------------------------------------------------------------------


@cell("BlockingIOError")
def starts_processes_for_ever():
    """Starts processes until there can be no more, and holds them for a while."""
    held = []
    try:
        while True:
            held.append(subprocess.Popen(["sleep", "98765"]))
    finally:
        time.sleep(1)
        for process in held:
            process.kill()


@cell("can't start new thread")
def starts_threads_for_ever():
    """Starts threads until there can be no more, and holds them for a while."""
    end = threading.Event()
    try:
        while True:
            threading.Thread(target=end.wait).start()
    finally:
        time.sleep(1)
        end.set()


@cell()
def forks_for_ever():
    """Has every process start two more, until nothing can be started."""
    children = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    subprocess.Popen([sys.executable, "-c", children], start_new_session=True)
    time.sleep(2)
    os.kill(-1, signal.SIGKILL)


@cell(TIMEOUT)
def stops_itself():
    """Stops its own process, which then answers nothing, as one that is being looked at."""
    os.kill(os.getpid(), signal.SIGSTOP)


@cell()
def outlives_by_changing_the_first_process():
    """Writes into the memory of the process whose end ends all others."""
    for path in ("/proc/1/mem", "/proc/self/root/proc/1/mem", "/proc/self/task/../../1/mem"):
        with suppress(OSError), open(path, "r+b"):
            print(WON, path)
    if ctypes.CDLL(None).syscall(int(KNOWN["ptrace"]), 16, 1, 0, 0) == 0:
        print(WON)


@cell()
def leaves_a_daemon():
    """Leaves processes that nobody is the parent of, to act when the grading is over."""
    act = f"import time\nwhile True:\n time.sleep(1)\n open({KNOWN['gradebook']!r}, 'w')"
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
                os.execv(sys.executable, [sys.executable, "-c", act, KNOWN["token"]])
            os._exit(0)


# --- Disk ----------------------------------------------------------------------------------------


@cell(FULL)
def fills_the_disk():
    """Writes files wherever it can, under a name that can be looked for, until nothing is left."""
    places = [KNOWN["course"], KNOWN["folder"], "/tmp", "/dev/shm", "/var/tmp", "/", "/scratch"]
    for place in places:
        with suppress(OSError):
            for number in range(10_000):
                with open(f"{place}/{KNOWN['token']}{number}", "wb") as file:
                    file.write(bytes(1_000_000))
    with open("/scratch/work/one_more", "wb") as file:
        file.write(bytes(1_000_000))


@cell()
def makes_many_files():
    """Makes empty files, which have no size, as long as it may."""
    end = time.monotonic() + 2
    for number in range(10**9):
        os.close(os.open(f"/scratch/tmp/{number}", os.O_CREAT | os.O_WRONLY))
        if time.monotonic() > end:
            break


# --- Output --------------------------------------------------------------------------------------


@cell(PRINTED)
def prints_for_ever():
    """Prints a gigabyte, and lets each message out before the next."""
    for _ in range(5_000):
        print("6" * 200_000, flush=True)


@cell(LEFT_OUT)
def prints_everything_at_once():
    """Prints more than may be shown."""
    print("6" * 5_000_000)


@cell(TIMEOUT)
def writes_for_ever():
    """Writes a gigabyte past Python, to the standard output and error of its process."""
    for _ in range(50_000):
        os.write(1, b"6" * 10_000)
        os.write(2, b"6" * 10_000)


@cell(PRINTED, at=ATTACKED)
def prints_for_ever_in_a_function():
    """Shows a gigabyte when it is judged."""
    from IPython.display import display

    def linear_attention(q, k, v, feature_map):
        for _ in range(1000):
            display({"text/plain": "6" * 10**6}, raw=True)
