"""The command `autograder`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command()
def build(
    force: Annotated[bool, typer.Option(help="Build although nothing has changed.")] = False,
) -> None:
    """Build what has changed: notebooks from Markdown and solutions, and recorded answers."""
    from autograder.build import SourceError, write_readme
    from autograder.build import build as build_all

    try:
        for line in [*build_all(force=force), *write_readme()]:
            typer.echo(line)
    except SourceError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def update() -> None:
    """Copy the notebooks to course/work, or bring yours up to date; your answers are kept."""
    from autograder.work import update as update_work

    try:
        for line in update_work():
            typer.echo(line)
    except OSError as error:
        typer.echo(f"error: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from None


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="A notebook, solved or not.")],
    require_full: Annotated[
        bool, typer.Option("--require-full", help="Exit with 1 unless all points are earned.")
    ] = False,
) -> None:
    """Run a notebook and print its exercises and points.

    The exit code is 0 if it could be run, whatever it earned.
    """
    from autograder.run_notebook import NotebookError, run_and_report

    try:
        full = run_and_report(notebook)
    except NotebookError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    if require_full and not full:
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Argument(help="Where; a new folder by default.")] = None,
) -> None:
    """Release, collect, autograde and return five example submissions in a throw-away class."""
    from autograder.demo import run_demo

    run_demo(folder)


@app.command()
def doctor() -> None:
    """Say what this machine has, and what is missing, with the fix."""
    from autograder.doctor import report

    raise typer.Exit(report())


@app.command()
def progress() -> None:
    """Print the points in your saved notebooks, and the next exercise of each."""
    from autograder.progress import print_progress
    from autograder.registry import COURSE

    print_progress(COURSE / "work")


@app.command()
def train() -> None:
    """Train the small model whose attention the notebooks look at, and package its weights."""
    from safetensors.torch import save

    from course import trained_model

    model = trained_model.train()
    trained_model.WEIGHTS.write_bytes(save(model.state_dict()))
    typer.echo(f"saved {trained_model.WEIGHTS}")
    typer.echo(trained_model.describe(model))
