"""Put something else in the place of the answers.

The functions stand in for what the judge calls in the student's process: the files `cases` and
`answers` are those that it reads and writes.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

import torch

from tests.hostile.corpus import KNOWN, NOTHING, answer, cell

NONE_CAME = "Your function gave no answer (no answer came back)."
NO_FILE = "Your function gave no answer (what came back is no plain file)."
TOO_LARGE = "Your function gave no answer (the answer has more than"
DAMAGED = "Your function gave no answer (it is damaged)."
BAD_HEADER = "Your function gave no answer (its header is damaged)."
NO_HEADER = "Your function gave no answer (it has no header, or too long a one)."


# --- No file -------------------------------------------------------------------------------------


@answer(NONE_CAME)
def says_nothing(cases, answers):
    """Returns without an answer."""
    pass


@answer(NONE_CAME)
def links_to_a_file_of_the_machine(cases, answers):
    """Makes the answers a link, which the grader would read as itself."""
    os.symlink(KNOWN["canary"], answers)


@answer(NO_FILE)
def makes_a_pipe(cases, answers):
    """Makes the answers a pipe, whose reader waits for ever."""
    os.mkfifo(answers)


@answer(NO_FILE)
def makes_a_folder(cases, answers):
    """Makes the answers a folder."""
    os.mkdir(answers)


@answer(TOO_LARGE)
def makes_a_large_file(cases, answers):
    """Makes the answers as large as a file can be, without writing anything."""
    with open(answers, "wb") as file:
        file.truncate(63_000_000)


# --- No answers ----------------------------------------------------------------------------------


@answer(NO_HEADER)
def writes_six(cases, answers):
    """Writes a score where tensors are expected."""
    Path(answers).write_text("6")


@answer(NO_HEADER)
def promises_a_long_header(cases, answers):
    """Begins with a header of 2⁶³ bytes."""
    Path(answers).write_bytes((2**63).to_bytes(8, "little") + b"{}")


@answer(BAD_HEADER)
def nests_the_header(cases, answers):
    """Sends a header of a hundred thousand nested lists."""
    text = b"[" * 100_000
    Path(answers).write_bytes(len(text).to_bytes(8, "little") + text)


@answer(BAD_HEADER)
def counts_in_the_header(cases, answers):
    """Sends a number of a hundred thousand digits in the header."""
    text = b'{"__metadata__": ' + b"9" * 100_000 + b"}"
    Path(answers).write_bytes(len(text).to_bytes(8, "little") + text)


@answer(DAMAGED)
def overlaps_tensors(cases, answers):
    """Sends tensors that lie over each other and beyond the end of the file."""
    entry = {"dtype": "F32", "shape": [2, 2, 6, 3], "data_offsets": [0, 10**12]}
    about = {"about": json.dumps({"raised": {}, "printed": ""})}
    header = {"__metadata__": about, "short|output": entry, "one token|output": entry}
    text = json.dumps(header).encode()
    Path(answers).write_bytes(len(text).to_bytes(8, "little") + text + bytes(288))


@answer("Your function gave no answer (")
def names_a_type_that_is_a_list(cases, answers):
    """Sends a tensor whose type is no name."""
    entry = {"dtype": ["F32"], "shape": [], "data_offsets": [0, 0]}
    text = json.dumps({"short|output": entry}).encode()
    Path(answers).write_bytes(len(text).to_bytes(8, "little") + text)


# --- Other answers -------------------------------------------------------------------------------


@answer("it holds tensors of type C64, F8_E4M3")
def sends_other_types(cases, answers):
    """Sends complex numbers, and numbers of eight bits."""
    import safetensors.torch

    tensors = {
        "short|output": torch.zeros(2, dtype=torch.complex64),
        "one token|output": torch.zeros(2).to(torch.float8_e4m3fn),
    }
    about = {"about": json.dumps({"raised": {}, "printed": ""})}
    Path(answers).write_bytes(safetensors.torch.save(tensors, metadata=about))


@answer("output has dtype torch.int64")
def sends_integers(cases, answers):
    """Sends integers of the right shape."""
    import autograder.transfer

    found = {"constant values": {"output": torch.zeros(2, 2, 6, 3, dtype=torch.int64)}}
    Path(answers).write_bytes(autograder.transfer.pack_answers(found, ""))


@answer("NaN")
def sends_what_is_no_number(cases, answers):
    """Sends NaN, of which nothing is true, in every shape that is expected."""
    import autograder.transfer

    given = autograder.transfer.unpack_cases(Path(cases).read_bytes())
    found = {
        case: {
            "output": torch.full(
                (*drawn.inputs["q"].shape[:-1], drawn.inputs["v"].shape[-1]), torch.nan
            ),
            **{"grad_" + x: torch.full_like(drawn.inputs[x], torch.nan) for x in "qkv"},
        }
        if "q" in drawn.inputs
        else {x: torch.full((3,), torch.nan) for x in ("work", "calls", "largest_tensor")}
        for case, drawn in given.items()
    }
    Path(answers).write_bytes(autograder.transfer.pack_answers(found, ""))


@answer("no answer came back")
def answers_other_cases(cases, answers):
    """Answers cases that nobody asked for, a million times smaller and larger."""
    import autograder.transfer

    names = ["", "|", "passed", "points", "expected", "../../x", "short|output|x", "é" * 1000]
    found = {name: {"output": torch.ones(6), "points": torch.tensor(6)} for name in names}
    Path(answers).write_bytes(autograder.transfer.pack_answers(found, "6"))


@answer("output has shape")
def sends_a_shape_of_many_dimensions(cases, answers):
    """Sends an empty tensor of a thousand dimensions."""
    import autograder.transfer

    given = autograder.transfer.unpack_cases(Path(cases).read_bytes())
    found = {case: {"output": torch.zeros([1] * 1000 + [0])} for case in given}
    Path(answers).write_bytes(autograder.transfer.pack_answers(found, ""))


# --- Where they are exchanged --------------------------------------------------------------------


@cell()
def takes_the_places_of_the_cases():
    """Takes names under which the judge could send cases and look for answers."""
    for number in range(100):
        for name in ("cases", "answers"):
            with open(f"/scratch/exchange/{number}.{name}", "w") as file:
                file.write("6")


@cell("Your function gave no answer", **NOTHING)
def fills_the_exchange():
    """Leaves no room for cases and answers."""
    with suppress(OSError):
        for number in range(1000):
            with open(f"/scratch/exchange/full{number}", "wb") as file:
                file.write(bytes(1_000_000))
