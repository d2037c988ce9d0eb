"""The check button: what a press says of an answer that is right, wrong, broken, or mended in between."""

import pytest
import torch.nn.functional as F

from bfr_lite import labs
from bfr_lite.widgets import check_button


def high_pass(x):
    return x - F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def check_double(function):
    """double(3) is 6."""
    assert function(3) == 6, f"double(3) should be <6>, yours gives {function(3)}"


def pressed(check, answer) -> str:
    widget = check_button(check, lambda: answer)
    assert widget.message.value == ""
    widget.button.click()
    return widget.message.value


def test_a_right_answer_is_told_so_by_the_docstring_or_by_what_the_check_returns():
    assert "<b>Right.</b>" in pressed(check_double, lambda x: 2 * x)
    assert "double(3) is 6." in pressed(check_double, lambda x: 2 * x)
    assert "all 4 cases" in pressed(lambda answer: "all 4 cases", None)


def test_a_wrong_answer_gets_the_message_as_text():
    said = pressed(check_double, lambda x: x * x)
    assert "<b>Not yet.</b>" in said and "double(3) should be &lt;6&gt;, yours gives 9" in said


def refuse(answer):
    if not answer:
        raise AssertionError


def test_a_check_without_a_message_still_says_something():
    assert "the check failed, and says no more" in pressed(refuse, 0)
    assert "<b>Right.</b>" in pressed(refuse, 1) and "refuse" in pressed(refuse, 1)


@pytest.mark.parametrize("answer", [lambda x: None + x, 6], ids=["raises", "is no function"])
def test_an_answer_that_breaks_is_said_with_its_error(answer):
    assert "<b>It stopped.</b>" in pressed(check_double, answer) and "TypeError: " in pressed(check_double, answer)


def test_the_answer_is_taken_when_the_button_is_pressed():
    answers = [lambda x: x, lambda x: 2 * x]
    widget = check_button(check_double, lambda: answers[0])
    widget.button.click()
    assert "Not yet" in widget.message.value
    answers.pop(0)
    widget.button.click()
    assert "Right" in widget.message.value


def test_the_button_has_a_name_and_says_what_it_checks():
    widget = check_button(check_double, lambda: None)
    assert widget.button.description == "Check my answer" and widget.button.tooltip == "double(3) is 6."
    assert widget.children == (widget.button, widget.message)


def test_what_a_check_of_the_labs_prints_is_shown_beside_the_button(capsys):
    mean = pressed(labs.check_high_pass, lambda x: x - high_pass(x))
    assert "Not yet" in mean and "this is the local mean" in mean
    right = pressed(labs.check_high_pass, high_pass)
    assert "<b>Right.</b>" in right and "✓ high_pass" in right
    assert capsys.readouterr().out == ""
