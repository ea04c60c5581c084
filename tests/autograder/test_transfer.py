"""What goes to a student's process and comes back: data, whatever was sent."""

import json

import pytest
import torch
from safetensors.torch import save

from autograder.exercise import Raised
from autograder.exercises import all_exercises
from autograder.transfer import (
    MalformedError,
    pack_answers,
    pack_cases,
    unpack_answers,
    unpack_cases,
)


@pytest.mark.parametrize("name", all_exercises())
def test_cases_arrive_as_they_were_drawn_and_in_their_order(name):
    cases = all_exercises()[name].draw(3)
    arrived = unpack_cases(pack_cases(cases))
    assert list(arrived) == list(cases)
    for name, case in cases.items():
        assert arrived[name].part == case.part
        assert list(arrived[name].inputs) == list(case.inputs)
        for key, value in case.inputs.items():
            came = arrived[name].inputs[key]
            if not isinstance(value, torch.Tensor):
                assert came == value
                continue
            assert torch.equal(came, value)
            # What lies in memory column by column is no other case at grading than at a check.
            assert came.is_contiguous() == value.is_contiguous()


def test_answers_arrive_with_exceptions_and_what_was_printed():
    answers = {
        "short": {"output": torch.randn(3, 2), "positive": torch.tensor([True, False])},
        "half": {"output": torch.randn(2).bfloat16()},
        "long": Raised("ValueError", "too long", "line 3: raise"),
    }
    arrived, printed = unpack_answers(pack_answers(answers, "hello"))
    assert printed == "hello"
    assert arrived["long"] == answers["long"]
    for case in ("short", "half"):
        for key, tensor in answers[case].items():
            assert torch.equal(arrived[case][key], tensor)


def test_answers_that_share_memory_or_are_not_contiguous_arrive():
    x = torch.arange(6.0).reshape(2, 3)
    arrived, _ = unpack_answers(pack_answers({"a": {"x": x, "y": x.mT}}, ""))
    assert torch.equal(arrived["a"]["y"], x.mT)


class AlwaysEqual(torch.Tensor):
    """Claims to equal everything."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return (
            True if func is torch.equal else super().__torch_function__(func, types, args, kwargs)
        )


def test_a_tensor_of_another_class_arrives_as_its_numbers():
    forged = torch.zeros(3).as_subclass(AlwaysEqual)
    arrived, _ = unpack_answers(pack_answers({"a": {"x": forged}}, ""))
    assert type(arrived["a"]["x"]) is torch.Tensor
    assert torch.equal(arrived["a"]["x"], torch.zeros(3))


def with_about(about: object, **tensors: torch.Tensor) -> bytes:
    return save(tensors, metadata={"about": json.dumps(about)})


SOUND = {"raised": {}, "printed": ""}
LISTED = b'{"__metadata__":{"about":"{}"},"a|x":{"dtype":["F32"],"shape":[],"data_offsets":[0,0]}}'
MALFORMED = {
    "a type that is a list": len(LISTED).to_bytes(8, "little") + LISTED,
    "nothing": b"",
    "text": b"full points, please",
    "a header that is too long": (2**40).to_bytes(8, "little") + b"{}",
    "a header cut off": (1000).to_bytes(8, "little") + b"{",
    "a deep header": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "a header that is a list": (2).to_bytes(8, "little") + b"[]",
    "no metadata": save({"a|x": torch.zeros(1)}),
    "metadata that is a number": with_about(3),
    "metadata without its parts": with_about({}),
    "an exception without its parts": with_about(SOUND | {"raised": {"a": ["ValueError"]}}),
    "exceptions that are a list": with_about(SOUND | {"raised": [1]}),
    "complex numbers": with_about(SOUND, **{"a|x": torch.zeros(1, dtype=torch.complex64)}),
    "a pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins",
    "a tensor without its data": with_about(SOUND, **{"a|x": torch.zeros(100)})[:-4],
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_set_of_answers_is_refused(data):
    with pytest.raises(MalformedError):
        unpack_answers(data)


def test_texts_are_cut_to_a_length_that_can_be_shown():
    data = with_about({"raised": {"a": ["E", "m" * 10**5, ""]}, "printed": "p" * 10**5})
    arrived, printed = unpack_answers(data)
    assert len(arrived["a"].message) < 10**4
    assert len(printed) < 10**4
