"""How a training run looks: a bar on a terminal, a line a validation elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


import sys

from lvspec.cli import terminal


class Display:
    """`with Display() as d: train(..., d.show)`. Everything goes to stderr."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def __enter__(self) -> Display:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[loss]}"),
                TimeRemainingColumn(),
            )
            self.bar = Progress(*columns, console=Console(stderr=True))
            self.bar.start()
        return self

    def __exit__(self, *failure) -> None:
        if self.bar is not None:
            self.bar.stop()

    def show(self, event) -> None:
        """An event of the training loop."""
        if self.quiet:
            return
        if self.bar is not None:
            self._move(self.bar, event)
        if event.kind == "valid":
            self._line(validation(event))

    def _move(self, bar: Progress, event) -> None:
        if self.task is None:
            self.task = bar.add_task("training", total=event.total, loss="")
        if event.kind == "step":
            epoch, loss = event.numbers["epoch"] + 1, event.numbers["loss"]
            bar.update(self.task, completed=event.progress.step, description=f"epoch {epoch}", loss=f"loss {loss:.3f}")

    def _line(self, text: str) -> None:
        if self.bar is not None:
            self.bar.console.print(terminal.visible(text), markup=False, highlight=False)
        else:
            terminal.say(text)


def validation(event) -> str:
    """`step 400/2000  epoch 2  log p(x) -81.204  reconstruction -80.1  kl.z 1.1  noise.z 0.03  best`"""
    row = event.numbers
    name = {"exact": "log p(x)", "bound": "ELBO", "objective": "objective"}.get(str(row["kind"]), "log p(x, z)")
    named = {k: v for k, v in row.items() if k.startswith(("reconstruction", "kl.", "noise."))}
    pieces = [f"step {row['step']}/{event.total}", f"epoch {row['epoch']}", f"{name} {row['valid']:.4f}"]
    pieces += [f"{k} {v:.4g}" if k.startswith("noise.") else f"{k} {v:.4f}" for k, v in named.items()] + (
        ["best"] if row["better"] else []
    )
    return "  ".join(pieces)
