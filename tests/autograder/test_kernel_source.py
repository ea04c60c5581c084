"""What of a student's text is taken for a Triton kernel, and what is refused."""

import pytest

from autograder.exercise import AnswerError
from autograder.exercises import exercises_of
from autograder.kernel_source import HEADER, kernel_source
from course.triton_here import kernel_texts
from solutions.hardware_aware_attention import kernels as right
from solutions.mistakes import mistakes_of
from tests.autograder.exercises.hardware_aware_attention.right_kernels import RIGHT

KERNELS = [e.name for e in exercises_of("hardware_aware_attention").values() if e.kind == "kernel"]


def kernel(body: str, parameters: str = "x_ptr, n, BLOCK: tl.constexpr") -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"@triton.jit\ndef doubled({parameters}):\n{lines}\n"


SOUND = kernel("i = tl.arange(0, BLOCK)\ntl.store(x_ptr + i, 2 * tl.load(x_ptr + i), mask=i < n)")


def test_a_kernel_is_taken_from_its_cell_without_what_else_is_there():
    text = f"import torch\n\nprint('hello')\n\n{SOUND}\ntorch.manual_seed(0)\n"
    assert kernel_source([text], "doubled") == f"{HEADER}\n\n\n{SOUND}"


def test_the_last_definition_counts():
    earlier = SOUND.replace("2 *", "3 *")
    assert "2 *" in kernel_source([earlier, "x = 1", SOUND, "%matplotlib inline"], "doubled")


MAGICS = {
    "a line magic": f"%matplotlib inline\n{SOUND}",
    "a command": f"!true\nfiles = !ls\n{SOUND}",
    "a question": f"tl.load?\n{SOUND}",
    "a cell whose output is captured": f"%%capture shown\n!true\n{SOUND}",
    "prompts": ">>> " + "\n... ".join(SOUND.splitlines()),
}


@pytest.mark.parametrize("text", MAGICS.values(), ids=MAGICS)
def test_a_cell_is_read_as_ipython_runs_it(text):
    assert kernel_source([text], "doubled") == f"{HEADER}\n\n\n{SOUND}"


def test_what_is_below_a_magic_that_hides_it_is_told():
    with pytest.raises(AnswerError, match="%%time"):
        kernel_source([f"%%time\n{SOUND}"], "doubled")


def test_a_kernel_counts_under_a_second_name():
    source = kernel_source([SOUND.replace("doubled", "mine"), "doubled = mine"], "doubled")
    assert source.index("def mine") < source.index("doubled = mine")


def test_a_kernel_brings_the_kernels_that_it_calls():
    helper = "@triton.jit\ndef twice(x):\n    return 2 * x\n"
    caller = kernel("tl.store(x_ptr, twice(tl.load(x_ptr)))")
    source = kernel_source([helper, caller], "doubled")
    assert source.index("def twice") < source.index("def doubled")


@pytest.mark.parametrize("name", KERNELS)
def test_every_right_kernel_and_every_mistake_passes(name):
    kernels = [getattr(right, name), *RIGHT[name]]
    kernels += [m.function for m in mistakes_of("hardware_aware_attention", name)]
    for each in kernels:
        name = each.fn.__name__
        assert f"def {name}" in kernel_source(kernel_texts(each), name)


def test_a_body_that_is_still_to_be_written_is_told_from_a_wrong_one():
    with pytest.raises(NotImplementedError):
        kernel_source([kernel("# YOUR CODE HERE\nraise NotImplementedError()")], "doubled")


REFUSED = {
    "torch": ("y = torch.softmax(x_ptr, 0)", "line 2 of doubled uses torch, which is not Triton"),
    "numpy": ("y = np.exp(1.0)", "uses np"),
    "a global": ("y = ANSWER", "uses ANSWER"),
    "an import": ("import torch", "does not know"),
    "a builtin that reads": ("y = open('/etc/passwd')", "uses open"),
    "getattr": ("y = getattr(tl, 'core')", "uses getattr"),
    "eval": ("y = eval('1')", "uses eval"),
    "what a tile keeps inside": ("y = x_ptr.handle", "uses .handle"),
    "numpy under a tile": ("y = (x_ptr + 0).handle.data @ 1", "uses .data"),
    "a private attribute": ("y = tl._experimental", "uses ._experimental"),
    "a module of Triton": ("y = tl.core.np", "uses .np"),
    "a module of Triton under another name": ("c = tl.core\ny = c.np", "uses .np"),
    "more of triton": ("y = triton.compile(x_ptr)", "uses .compile"),
    "writing to the language": ("tl.exp = tl.log", "writes to tl.exp"),
    "writing into a tile": ("x_ptr[0] = 1", "writes to x_ptr[0]"),
    "a lambda": ("y = (lambda: 1)()", "does not know"),
    "a function": ("def f():\n    return 1", "does not know"),
    "a list of something": ("y = [i for i in range(3)]", "does not know"),
    "a string with values": ('y = f"{n}"', "does not know"),
    "tl bound to something else": ("tl = n", "restore them"),
}


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_triton_is_refused_with_the_line(body, reason):
    with pytest.raises(AnswerError) as refused:
        kernel_source([kernel(body)], "doubled")
    assert reason in str(refused.value)


HEADS = {
    "no decorator": SOUND.removeprefix("@triton.jit\n"),
    "another decorator": SOUND.replace("@triton.jit", "@cheat\n@triton.jit"),
    "a decorator with code": SOUND.replace("@triton.jit", "@triton.jit(debug=print('ran'))"),
    "a default with code": kernel("pass", "x_ptr, n=print('ran')"),
    "an annotation with code": kernel("pass", "x_ptr: print('ran')"),
    "any arguments": kernel("pass", "*pointers"),
    "not there": "x = 1",
    "not Python": "@triton.jit\ndef doubled(:",
}


@pytest.mark.parametrize("text", HEADS.values(), ids=HEADS)
def test_only_a_plain_kernel_is_taken(text):
    with pytest.raises(AnswerError):
        kernel_source([text], "doubled")


def test_an_ordinary_function_that_a_kernel_calls_is_no_kernel():
    helper = "def twice(x):\n    import torch\n    return 2 * x\n"
    caller = kernel("tl.store(x_ptr, twice(tl.load(x_ptr)))")
    with pytest.raises(AnswerError, match="twice is no Triton kernel"):
        kernel_source([helper, caller], "doubled")
