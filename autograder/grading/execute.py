"""Run a submission to its end, whatever its cells do to the kernel."""

from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade

Resources = dict[str, Any]


class ExecuteToTheEnd(Execute):
    """Runs every cell; where one takes the kernel down, the rest runs in a new one.

    nbgrader gives up the whole submission there. In the new kernel the cells above run again,
    without the one that failed and without test cells that have their output already.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Run the notebook. Raises RuntimeError if a kernel cannot be started."""
        self._finished: set[int] = set()
        while True:
            self._running: int | None = None
            try:
                return super().preprocess(nb, resources)
            except (DeadKernelError, CellTimeoutError) as error:
                if self._running is None:
                    raise
                self.log.warning("Cell %d took its kernel down: %s", self._running, error)
                name = type(error).__name__
                nb.cells[self._running].outputs = [
                    new_output("error", ename=name, evalue="", traceback=[name])
                ]
                self._finished.add(self._running)

    def preprocess_cell(
        self, cell: NotebookNode, resources: Resources, index: int
    ) -> tuple[NotebookNode, Resources]:
        """Run one cell, unless it is finished."""
        if index in self._finished:
            return cell, resources
        self._running = index
        cell, resources = super().preprocess_cell(cell, resources, index)
        self._running = None
        if is_grade(cell):
            self._finished.add(index)
        return cell, resources
