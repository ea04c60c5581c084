"""The reference's and the mistakes' answers: computed where solutions/ is, recorded for students.

A student's environment need not hold solutions/. The build records, for the public cases, what
the reference and each mistake answer; `check` compares with these.
"""

import hashlib
import json
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from autograder.cases import in_float64
from autograder.exercise import (
    CHANGED,
    PUBLIC_SEED,
    TOLERANCES,
    Answer,
    Case,
    Exercise,
    Raised,
    ReferenceFailsError,
)
from autograder.exercises import exercises_of
from autograder.lines import Answers, Truths
from autograder.mistakes import KnownMistake, agree, close, wrong_in_numbers
from autograder.probes import run_probe

RECORDED = Path(__file__).parent / "recorded"
_REFERENCE, _SEPARATOR = "reference", "|"


def reference_answers(exercise: Exercise, cases: dict[str, Case]) -> Truths:
    """What the reference answers, in float64, to the cases of parts that compare with it.

    Raises ReferenceFailsError if it fails.
    """
    function = getattr(import_module(f"solutions.{exercise.module}"), exercise.name)
    truths: Truths = {}
    asked: dict[str, Case] = {}
    for name, case in cases.items():
        part, inputs = exercise.part(case.part), in_float64(case.inputs)
        if part.compared and part.truth is not None:
            truths[name] = part.truth(**inputs)
        elif part.compared:
            asked[name] = Case(case.part, inputs)
    for name, answer in run_probe(exercise, function, asked)[0].items():
        if isinstance(answer, Raised):
            raise ReferenceFailsError(
                f"the reference of {exercise.name} fails on case {name}: {answer}"
            )
        truths[name] = answer
    return truths


def mistake_answers(exercise: Exercise, cases: dict[str, Case]) -> tuple[KnownMistake, ...]:
    """What each declared mistake answers to the cases of parts by which mistakes are told.

    Those that are known by a sign need no answers.
    """
    from solutions.mistakes import mistakes_of

    cases = {n: case for n, case in cases.items() if exercise.part(case.part).tells_mistakes}
    signed = {name for part in exercise.parts for name in part.signs}
    return tuple(
        KnownMistake(
            m.name,
            m.explanation,
            {} if m.name in signed else run_probe(exercise, m.function, cases)[0],
        )
        for m in mistakes_of(exercise.topic, exercise.name)
    )


def _steady(
    exercise: Exercise, cases: dict[str, Case], mistakes: tuple[KnownMistake, ...], right: Truths
) -> tuple[KnownMistake, ...]:
    """The mistakes without those tensors that rounding decides: other processors give others.

    Found from inputs that are all larger by some units in the last place: equal ones stay equal.
    What is wrong in such tensors alone keeps them.
    """
    larger = {
        name: Case(case.part, {key: _larger(value) for key, value in case.inputs.items()})
        for name, case in cases.items()
    }
    found = []
    for mistake, again in zip(mistakes, mistake_answers(exercise, larger), strict=True):
        answers: Answers = {}
        for name, answer in mistake.answers.items():
            anew = again.answers[name]
            if isinstance(answer, Raised) or isinstance(anew, Raised):
                if agree(exercise, cases, mistake.answers, {name: anew}, right):
                    answers[name] = answer
                continue
            answers[name] = {
                key: tensor
                for key, tensor in answer.items()
                if key in anew
                and agree(exercise, cases, mistake.answers, {name: {key: anew[key]}}, right)
            }
        told, was_told = (
            wrong_in_numbers(exercise, cases, a, right) for a in (answers, mistake.answers)
        )
        found.append(replace(mistake, answers=answers) if told == was_told else mistake)
    return tuple(found)


def _larger(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in (torch.float32, torch.float64):
        return value * (1 + 4 * torch.finfo(value.dtype).eps)
    return value


def _is_short(case: Case) -> bool:
    """Whether answers are compared with fewer digits than float64 has."""
    given = [x.dtype for x in case.inputs.values() if isinstance(x, Tensor)]
    return any(dtype in TOLERANCES and dtype != torch.float64 for dtype in given)


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(save({"": tensor.contiguous()})).hexdigest()[:16]


def _stored(tensor: Tensor, truth: Tensor | None, short: bool) -> Tensor:
    """What stands for an answer: where it is right, the truth, which is then stored once.

    short: whether the truth, which is float64, may lose digits.
    """
    if truth is not None and tensor is not truth and close(tensor, truth):
        return truth.to(tensor.dtype)
    return tensor.float() if tensor is truth and short and tensor.is_floating_point() else tensor


def record(topic: str) -> bytes:
    """The answers of all exercises of a topic on the public cases, as one safetensors file.

    Equal tensors, of which mistakes have many, are stored once, under their digest. JSON in the
    header holds the digest of exercise|who|case|name, where who is "reference" or a mistake's name,
    and what is known of the mistakes, and exceptions.
    """
    tensors: dict[str, Tensor] = {}
    digests: dict[str, str] = {}
    exceptions: dict[str, dict[str, str]] = {}
    mistakes_by_exercise: dict[str, list[dict[str, str]]] = {}
    for exercise in exercises_of(topic).values():
        cases = exercise.draw(PUBLIC_SEED)
        right = reference_answers(exercise, cases)
        mistakes = mistake_answers(exercise, cases)
        if exercise.kind == "function":  # kernels take seconds, and use no library that differs
            mistakes = _steady(exercise, cases, mistakes, right)
        mistakes_by_exercise[exercise.name] = [
            {"name": m.name, "explanation": m.explanation} for m in mistakes
        ]
        everyone: dict[str, Answers] = {_REFERENCE: {**right}}
        everyone |= {m.name: m.answers for m in mistakes}
        for who, answers in everyone.items():
            in_numbers = wrong_in_numbers(exercise, cases, answers, right)
            for case, answer in answers.items():
                key = _SEPARATOR.join((exercise.name, who, case))
                if isinstance(answer, Raised):
                    exceptions[key] = {"kind": answer.kind, "message": answer.message}
                    continue
                compared = exercise.part(cases[case].part).compared
                for name, tensor in answer.items():
                    if in_numbers and name not in compared | {CHANGED}:
                        continue  # it is known without
                    truth = right.get(case, {}).get(name) if name in compared else None
                    stored = _stored(tensor, truth, _is_short(cases[case]))
                    digest = _digest(stored)
                    digests[key + _SEPARATOR + name] = digest
                    tensors[digest] = stored.contiguous().clone()
    about = {"tensors": digests, "exceptions": exceptions, "mistakes": mistakes_by_exercise}
    # One entry: safetensors writes several in an order that changes from run to run.
    return save(
        dict(sorted(tensors.items())), metadata={"about": json.dumps(about, sort_keys=True)}
    )


def unpack_record(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors that `record` packed, by exercise|who|case|name, and the rest of the header."""
    tensors = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["about"])
    return {key: tensors[digest] for key, digest in about.pop("tensors").items()}, about


@cache
def _read(topic: str) -> tuple[dict[str, dict[str, Answers]], dict[str, list[dict]]]:
    path = RECORDED / f"{topic}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `autograder build` to record the answers")
    tensors, about = unpack_record(path.read_bytes())
    cases: dict[tuple[str, str, str], Answer] = {}
    for key, tensor in tensors.items():
        exercise, who, case, name = key.split(_SEPARATOR)
        cases.setdefault((exercise, who, case), {})[name] = tensor
    found: dict[str, dict[str, Answers]] = {}
    for (exercise, who, case), answer in cases.items():
        found.setdefault(exercise, {}).setdefault(who, {})[case] = answer
    for key, error in about["exceptions"].items():
        exercise, who, case = key.split(_SEPARATOR)
        found.setdefault(exercise, {}).setdefault(who, {})[case] = Raised(**error)
    return found, about["mistakes"]


def recorded_answers(exercise: Exercise) -> tuple[Truths, tuple[KnownMistake, ...]]:
    """The reference's and the mistakes' answers on the public cases, without solutions/.

    Raises FileNotFoundError if they were never recorded.
    """
    found, mistakes_by_exercise = _read(exercise.topic)
    everyone = found.get(exercise.name, {})
    mistakes = tuple(
        KnownMistake(answers=everyone.get(mistake["name"], {}), **mistake)
        for mistake in mistakes_by_exercise[exercise.name]
    )
    # Where nothing is held against it, there is none.
    right = everyone.get(_REFERENCE, {}).items()
    return {case: answer for case, answer in right if not isinstance(answer, Raised)}, mistakes
