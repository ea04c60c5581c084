"""The reference's and the mistakes' answers: computed where solutions/ is, recorded for students.

A student's environment need not hold solutions/. The build records, for the public cases, what
the reference and each mistake answer; `check` compares with these.
"""

import json
from functools import cache
from importlib import import_module
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from autograder.cases import in_float64
from autograder.exercise import PUBLIC_SEED, Exercise, Inputs, Raised, ReferenceFailsError
from autograder.exercises import exercises_of
from autograder.judge import Answers, KnownMistake
from autograder.probes import run_probe

RECORDED = Path(__file__).parent / "recorded"
_SEPARATOR = "|"


class _ReferenceAnswer(dict):
    """The reference's answer to one case, computed when a property first looks into it."""

    def __init__(self, exercise: Exercise, case: str, inputs: Inputs) -> None:
        super().__init__()
        self._question = exercise, case, inputs

    def __missing__(self, key: str) -> Tensor:
        exercise, case, inputs = self._question
        if not self:
            self.update(reference_answers(exercise, {case: inputs})[case])
            return self[key]
        raise KeyError(key)


def reference_answers(exercise: Exercise, cases: dict[str, Inputs]) -> Answers:
    """What the reference answers, computed in float64. Raises ReferenceFailsError if it fails."""
    if exercise.truth is not None:
        truths = {name: exercise.truth(**in_float64(inputs)) for name, inputs in cases.items()}
        return {name: truth for name, truth in truths.items() if truth}
    function = getattr(import_module(f"solutions.{exercise.module}"), exercise.name)
    double = {name: in_float64(inputs) for name, inputs in cases.items()}
    answers, _ = run_probe(exercise, function, double)
    for name, answer in answers.items():
        if isinstance(answer, Raised):
            raise ReferenceFailsError(
                f"the reference of {exercise.name} fails on case {name}: {answer}"
            )
    return answers


def reference_when_asked(exercise: Exercise, cases: dict[str, Inputs]) -> Answers:
    """The same, each computed when a property first looks into it: many properties never do."""
    return {case: _ReferenceAnswer(exercise, case, inputs) for case, inputs in cases.items()}


def mistake_answers(exercise: Exercise, cases: dict[str, Inputs]) -> tuple[KnownMistake, ...]:
    """What each declared mistake answers, but to the costly cases."""
    from solutions.mistakes import mistakes_of

    cases = {case: inputs for case, inputs in cases.items() if case not in exercise.costly}
    return tuple(
        KnownMistake(m.name, m.explanation, run_probe(exercise, m.function, cases)[0], m.random)
        for m in mistakes_of(exercise.topic, exercise.name)
    )


def record(topic: str) -> bytes:
    """The answers of all exercises of a topic on the public cases, as one safetensors file.

    Tensors are called exercise|who|case|name, where who is "reference" or a mistake's name;
    what is known of the mistakes, and exceptions, are JSON in the header.
    """
    tensors: dict[str, Tensor] = {}
    exceptions: dict[str, dict[str, str]] = {}
    mistakes_by_exercise: dict[str, list[dict[str, str | bool]]] = {}
    for exercise in exercises_of(topic).values():
        cases = exercise.draw_cases(PUBLIC_SEED)
        mistakes = mistake_answers(exercise, cases)
        mistakes_by_exercise[exercise.name] = [
            {"name": m.name, "explanation": m.explanation, "random": m.random} for m in mistakes
        ]
        everyone = {"reference": reference_answers(exercise, cases)}
        everyone |= {m.name: m.answers for m in mistakes}
        for who, answers in everyone.items():
            for case, answer in answers.items():
                key = _SEPARATOR.join((exercise.name, who, case))
                if isinstance(answer, Raised):
                    exceptions[key] = {"kind": answer.kind, "message": answer.message}
                    continue
                for name, tensor in answer.items():
                    # The truth is float64 throughout; a mistake has the dtype of its case.
                    truth = who == "reference" and tensor.dtype == torch.float64
                    stored = tensor.float() if truth else tensor
                    tensors[key + _SEPARATOR + name] = stored.contiguous().clone()
    about = {"exceptions": exceptions, "mistakes": mistakes_by_exercise}
    # One entry: safetensors writes several in an order that changes from run to run.
    return save(
        dict(sorted(tensors.items())), metadata={"about": json.dumps(about, sort_keys=True)}
    )


@cache
def _read(topic: str) -> tuple[dict[str, dict[str, Answers]], dict[str, list[dict]]]:
    path = RECORDED / f"{topic}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `autograder build` to record the answers")
    found: dict[str, dict[str, Answers]] = {}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118, it is no dictionary
            exercise, who, case, name = key.split(_SEPARATOR)
            answers = found.setdefault(exercise, {}).setdefault(who, {})
            answers.setdefault(case, {})[name] = file.get_tensor(key)
        about = json.loads(file.metadata()["about"])
    for key, error in about["exceptions"].items():
        exercise, who, case = key.split(_SEPARATOR)
        found[exercise].setdefault(who, {})[case] = Raised(**error)
    return found, about["mistakes"]


def recorded_answers(exercise: Exercise) -> tuple[Answers, tuple[KnownMistake, ...]]:
    """The reference's and the mistakes' answers on the public cases, without solutions/.

    Raises FileNotFoundError if they were never recorded.
    """
    found, mistakes_by_exercise = _read(exercise.topic)
    everyone = found[exercise.name]
    mistakes = tuple(
        KnownMistake(answers=everyone[mistake["name"]], **mistake)
        for mistake in mistakes_by_exercise[exercise.name]
    )
    return everyone["reference"], mistakes
