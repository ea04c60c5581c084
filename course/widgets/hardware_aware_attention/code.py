"""What a reader's kernel becomes on GPUs that are not here, as a table."""

from typing import Any

from IPython.display import Markdown

from course.machine_code import CompileError, MachineCode, machine_code
from course.reader import is_unsolved, table
from course.triton_here import MISSING, MissingKernel

_HEADERS = (
    "GPU",
    "tile",
    "registers a thread",
    "spilled",
    "shared memory, bytes",
    "the GPU allows",
    "tensor-core instructions",
    "does it hold?",
)


def verdict(code: MachineCode) -> str:
    """Whether a GPU runs it well: all numbers in registers and shared memory, on tensor cores."""
    faults = []
    if code.shared_memory > code.allowed_shared_memory:
        faults.append("too much shared memory")
    if code.spilled:
        faults.append("registers overflow into memory")
    if not code.tensor_core_instructions:
        faults.append("no tensor cores")
    return f"✗ {', '.join(faults)}" if faults else "✓ yes"


def compiled_kernel(kernel: Any, *tiles: tuple[int, int], causal: bool, d: int) -> Markdown:
    """The machine code of a kernel for several GPUs and sizes (BLOCK_Q, BLOCK_K) of its tiles.

    Where there is none, the reason, in words.
    """
    if isinstance(kernel, MissingKernel):
        return Markdown(MISSING)
    rows = []
    for block_q, block_k in tiles:
        try:
            found = machine_code(kernel, CAUSAL=causal, D=d, BLOCK_Q=block_q, BLOCK_K=block_k)
        except CompileError as error:
            return Markdown(_reason(kernel.__name__, error))
        for code in found:
            rows.append(
                [
                    code.target,
                    f"{block_q}\u00a0×\u00a0{block_k}",
                    code.registers,
                    code.spilled,
                    f"{code.shared_memory:,}",
                    f"{code.allowed_shared_memory:,}",
                    code.tensor_core_instructions,
                    verdict(code),
                ]
            )
    return table(_HEADERS, rows)


def _reason(name: str, error: CompileError) -> str:
    if is_unsolved(error):
        return f"{name} is not solved yet."
    # Triton shows the place, and says what is wrong in the last line.
    lines = "\n".join(str(error).splitlines()[-8:])
    return f"Triton cannot compile {name}:\n\n```text\n{lines}\n```"
