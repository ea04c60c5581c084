"""The ids by which nbgrader knows a notebook's cells: an exercise's, and that of its check."""

_CHECK = "check_"


def check_id(exercise: str) -> str:
    """The id of the cell that checks an exercise."""
    return _CHECK + exercise


def exercise_of(grade_id: str) -> str:
    """The exercise that a cell checks; any other cell's id as it is."""
    return grade_id.removeprefix(_CHECK)
