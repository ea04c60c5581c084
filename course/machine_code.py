"""Compile a Triton kernel for GPUs that are not here, and read what the machine code uses.

Triton and its assemblers need no GPU for that. It is done in another process: in this one Triton
may interpret its kernels, and then cannot compile them.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Name -> Triton's backend and architecture, threads of a warp, and bytes of shared memory that a
# program may have: NVIDIA's CUDA C++ Programming Guide, table of compute capabilities; AMD's
# CDNA 3 architecture guide.
TARGETS = {
    "A100 (sm_80)": ("cuda", 80, 32, 163 * 1024),
    "H100 (sm_90)": ("cuda", 90, 32, 227 * 1024),
    "MI300X (gfx942)": ("hip", "gfx942", 64, 64 * 1024),
}
SECONDS = 12
"""Seconds of computing that a compilation may take, on any machine: the solutions take 2 to 3."""
PATIENCE = 25
"""The same by the clock, on a machine that does other things."""
_TOO_LONG = 3
"""The status with which the other process says that one of its own was ended."""


@dataclass(frozen=True)
class MachineCode:
    """What one kernel became on one GPU.

    registers: of each thread. spilled: bytes, or registers on AMD, that found no place in
    registers. shared_memory: bytes of a program. tensor_core_instructions: in the code, each
    counted once. allowed_shared_memory: bytes that the GPU gives to a program.
    """

    target: str
    registers: int
    spilled: int
    shared_memory: int
    allowed_shared_memory: int
    tensor_core_instructions: int


class CompileError(Exception):
    """The kernel does not compile; the text is Triton's own, or says that it takes too long."""


def machine_code(kernel: Any, **constants: int | bool) -> list[MachineCode]:
    """Compile a kernel for each of TARGETS, with these values of its constants.

    Pointers lead to float16, but lse_ptr and delta_ptr to float32; `scale` is a float, any other
    argument an integer; columns are next to each other. Raises CompileError.
    """
    # Not for the other process, which imports this module: it would interpret kernels too.
    from course.triton_here import kernel_texts

    task = {
        "source": "\n\n".join(kernel_texts(kernel)),
        "name": kernel.fn.__name__,
        "constants": constants,
    }
    with tempfile.TemporaryDirectory() as folder:
        status, printed, complaints = _run(json.dumps(task), folder)
    if status in (_TOO_LONG, -signal.SIGXCPU, -signal.SIGKILL):
        raise CompileError(
            f"that takes more than {SECONDS} seconds, and was given up. A tile with three axes, or "
            "with tens of thousands of numbers, does that: multiply with tl.dot"
        )
    if status:
        raise CompileError(complaints.strip()[-2000:])
    return [MachineCode(**row) for row in json.loads(printed)]


def _run(task: str, folder: str) -> tuple[int, str, str]:
    """Run this module as a process: its status, and what it printed and complained of.

    None of the processes that it starts outlives it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "course.machine_code", folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"TRITON_INTERPRET": "0"}, cwd=Path(__file__).parent.parent,
        start_new_session=True,
    )  # fmt: skip
    try:
        printed, complaints = process.communicate(task, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return _TOO_LONG, "", ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, printed, complaints


def _compile(task: dict[str, Any], folder: str) -> list[MachineCode]:
    import runpy

    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    path = Path(folder, "kernel.py")
    path.write_text("import triton\nimport triton.language as tl\n\n\n" + task["source"])
    kernel = runpy.run_path(str(path))[task["name"]]

    found = []
    for name, (backend, architecture, warp, allowed) in TARGETS.items():
        source = ASTSource(kernel, *_specialised(kernel.arg_names, task["constants"]))
        target = GPUTarget(backend, architecture, warp)
        compiled = triton.compile(source, target=target, options={"num_warps": 4})
        read = _of_nvidia if backend == "cuda" else _of_amd
        registers, spilled, instructions = read(compiled.asm, folder)
        shared = compiled.metadata.shared
        found.append(MachineCode(name, registers, spilled, shared, allowed, instructions))
    return found


def _specialised(names: list[str], constants: dict[str, Any]) -> tuple[dict, dict, dict]:
    """Types, constants and divisibility, as a launch on ordinary tensors gives them."""
    constants = constants | {name: 1 for name in names if name.endswith("_column")}
    types, attributes = {}, {}
    for index, name in enumerate(names):
        if name in constants:
            types[name] = "constexpr"
        elif name.endswith("_ptr"):
            types[name] = "*fp32" if name in ("lse_ptr", "delta_ptr") else "*fp16"
        else:
            types[name] = "fp32" if name == "scale" else "i32"
        if name not in constants and name.endswith(("_ptr", "_batch", "_head", "_row")):
            attributes[(index,)] = [["tt.divisibility", 16]]
    return types, constants, attributes


def _of_nvidia(asm: dict[str, Any], folder: str) -> tuple[int, int, int]:
    import triton

    path = Path(folder, "kernel.cubin")
    path.write_bytes(asm["cubin"])
    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.run(
        [program, "--dump-resource-usage", path], capture_output=True, text=True, check=True
    ).stdout
    # What is spilled lies on the thread's stack.
    registers, stack = (_number(rf"{key}:(\d+)", usage) for key in ("REG", "STACK"))
    return registers, stack, len(re.findall(r"\bw?g?mma(?:\.sync|\.mma_async)", asm["ptx"]))


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, f"the compiler does not say {pattern}"
    return int(found[1])


def _of_amd(asm: dict[str, Any], folder: str) -> tuple[int, int, int]:
    # Scalar registers are spilled into vector registers, and those into memory.
    registers, spilled = (
        _number(rf"\.{key}:\s*(\d+)", asm["amdgcn"]) for key in ("vgpr_count", "vgpr_spill_count")
    )
    return registers, spilled, len(re.findall(r"\bv_mfma", asm["amdgcn"]))


def _main() -> None:
    import resource  # not there on Windows, where nothing is compiled either

    # For this process, and for each that it starts.
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        rows = _compile(json.load(sys.stdin), sys.argv[1])
    except Exception:
        if resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > SECONDS - 1:
            sys.exit(_TOO_LONG)
        raise
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    _main()
