"""The progress line: where a run stands, on stderr. Written here, because the packages for it show one count, and
cut off at the window's edge what this line leaves out by importance.

    step 1,200/2,700  44 %  loss 0.123  val 0.0981  lr 1.1e-3  grad 0.52  21.4k words/s  0:43 left

On a terminal the line is drawn over itself, at most ten times a second, and fitted into the width of the
window. Elsewhere (a pipe, a file, a build log) it is printed every ten seconds, as plain text. The time that
is left does not count the first step, which compiles the program.
"""

import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

REDRAW, PRINT = 0.1, 10.0
"""Seconds between two lines, on a terminal and elsewhere."""
DROPPED = ("label", "the word step", "lr", "grad", "speed", "val", "%")
"""What a narrow window goes without, in this order."""
_FORMATS = {"val": "#.3g", "lr": ".1e", "grad": ".2g"}
"""Of what is shown beside the losses."""


class Progress:
    """Shows a run of `total` steps of which `first` are done.

    unit: what its predictions are; stream: where to; clock: seconds, for tests. `quiet` shows nothing.
    """

    def __init__(
        self,
        total: int,
        first: int = 0,
        label: str = "",
        unit: str = "word",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
    ):
        self.stream = sys.stderr if stream is None else stream
        self.total, self.first, self.label, self.clock, self.quiet = total, first, label, clock, quiet
        self.terminal = self.stream.isatty()
        self.step, self.predictions, self.unit = first, 0, unit
        self.values: dict[str, float] = {}
        self.started: float | None = None  # after the first step of this process
        self.shown, self.width = clock(), 0

    def update(self, step: int, predictions: int, **values: float) -> None:
        """Step `step` is done, with so many predictions. values: the loss by its name, val, lr, grad; those not
        given stay as they were.
        """
        now = self.clock()
        self.values |= values
        self.step = step
        if self.started is None:
            self.started, self.first = now, step
        else:
            self.predictions += predictions
        if now - self.shown >= (REDRAW if self.terminal else PRINT):
            self._show(now)

    def note(self, text: str) -> None:
        """A line of its own, above the progress line."""
        if not self.quiet:
            self._erase()
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the last line standing, as it is now."""
        if self.values and not self.quiet:
            self._show(self.clock())
            if self.terminal:
                print(file=self.stream, flush=True)
        self.width = 0

    @property
    def seconds_per_step(self) -> float:
        """Without the first step; nan before there is a second."""
        done = self.step - self.first
        return (self.clock() - self.started) / done if self.started is not None and done else math.nan

    @property
    def predictions_per_second(self) -> float:
        """Without the first step; nan before there is a second."""
        elapsed = self.clock() - self.started if self.started is not None else 0.0
        return self.predictions / elapsed if elapsed > 0 else math.nan

    def line(self, columns: int | None = None) -> str:
        """The line as it is now, in full or in at most `columns` characters: closer together first, then
        with less.
        """
        fields = self._fields()
        dropped = 0
        text = "  ".join(fields.values())
        while columns is not None and len(text) > columns and dropped <= len(DROPPED):
            for name in DROPPED[:dropped]:
                fields.pop(name, None)
            if dropped > 1:
                fields["step"] = fields["step"].removeprefix("step ")
            text = " ".join(fields.values())
            dropped += 1
        return text[:columns]

    def _fields(self) -> dict[str, str]:
        done = f"step {self.step:,}/{self.total:,}"
        fields = {"label": self.label} if self.label else {}
        fields |= {"step": done, "%": f"{100 * self.step // max(1, self.total)} %"}
        losses = [name for name in self.values if name not in _FORMATS]
        for name in (*losses, *_FORMATS):
            if name in self.values:
                number = format(self.values[name], _FORMATS.get(name, "#.3g"))
                fields[name] = f"{name} {number.replace('e-0', 'e-').replace('e+0', 'e+')}"
        if not math.isnan(self.predictions_per_second):
            fields["speed"] = f"{_thousands(self.predictions_per_second)} {self.unit}s/s"
        if not math.isnan(self.seconds_per_step):
            fields["left"] = f"{_duration(self.seconds_per_step * (self.total - self.step))} left"
        return fields

    def _show(self, now: float) -> None:
        self.shown = now
        if self.quiet:
            return
        if not self.terminal:
            print(self.line(), file=self.stream, flush=True)
            return
        columns = (
            shutil.get_terminal_size((80, 24)).columns - 1
        )  # a full last column would wrap on some terminals
        text = self.line(columns)
        self.stream.write("\r" + text.ljust(min(self.width, columns)))
        self.stream.flush()
        self.width = len(text)

    def _erase(self) -> None:
        if self.terminal and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.width = 0


def _thousands(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def _duration(seconds: float) -> str:
    """Seconds as 0:43, 12:05 or 1:02:33."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
