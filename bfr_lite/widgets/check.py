"""The check button: press it, and read whether an answer is right."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from html import escape
from io import StringIO

from ipywidgets import HTML, Button, Layout, VBox


class CheckButton(VBox):
    """What `check_button` shows: `button`, and below it `message`, what the check said last."""

    def __init__(self, check: Callable[[object], object], answer: Callable[[], object]):
        self._check, self._answer = check, answer
        self.button = Button(
            description="Check my answer", tooltip=_summary(check), icon="check", layout=Layout(width="auto")
        )
        self.message = HTML()
        super().__init__([self.button, self.message], layout=Layout(align_items="flex-start"))
        self.button.on_click(self._press)

    def _press(self, button: Button) -> None:
        self.message.value = "checking …"
        self.message.value = _shown(*self._verdict())

    def _verdict(self) -> tuple[str, str]:
        printed = StringIO()
        try:
            with redirect_stdout(printed):
                said = self._check(self._answer())
        except AssertionError as error:
            return "Not yet", str(error) or "the check failed, and says no more"
        except Exception as error:  # whatever a student's code can raise belongs on the page, not in the log
            return "It stopped", f"{type(error).__name__}: {error}"
        told = printed.getvalue().strip() or said
        return "Right", told if isinstance(told, str) else _summary(self._check)


def check_button(check: Callable[[object], object], answer: Callable[[], object]) -> CheckButton:
    """A button that runs a named check of an answer and shows in words what it found.

    `check` takes the answer, and raises `AssertionError` with a message where it is wrong, as those of `bfr_lite.labs`
    do; what it prints or returns is shown with "Right", else the first line of its docstring. `answer` gives the answer
    at the time of the press, so that a function that was mended meanwhile is checked as it is now:
    `check_button(check_psnr, lambda: my_psnr)`.
    """
    return CheckButton(check, answer)


def _summary(check: Callable) -> str:
    """The first line of a check's docstring, or its name."""
    return (check.__doc__ or "").strip().partition("\n")[0] or getattr(check, "__name__", "")


def _shown(verdict: str, said: str) -> str:
    return f"<b>{verdict}.</b> <span style='white-space: pre-wrap'>{escape(said)}</span>"
