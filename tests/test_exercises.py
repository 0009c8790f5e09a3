"""`check` and `hint` themselves."""

import re
import sys

import numpy as np
import pytest
import torch

from helpers import exercises
from helpers.checks import feedback
from helpers.checks.feedback import Exercise, NotYet, call, compare


def verify_double(answer) -> None:
    """The made-up exercise of these tests: `double(x)` for a tensor."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    compare(call(answer, x), 2 * x, "the result", [("one factor too many.", 4 * x)])


@pytest.fixture(autouse=True)
def made_up_exercise(monkeypatch) -> None:
    from helpers.checks import lesson_01

    exercise = Exercise(verify_double, ("First.", "Second."), "well done.")
    monkeypatch.setattr(lesson_01, "EXERCISES", {"1.9": exercise})
    exercises._hints_given.clear()


def kind(answer) -> tuple[str, str]:
    result = exercises.check("1.9", answer)
    return result.kind, result.text


def test_the_stub_is_not_attempted_in_whatever_form() -> None:
    def raises(x):
        raise NotImplementedError

    def body(x): ...

    def documented(x):
        """What it should do."""

    stubs = [
        ...,
        None,
        body,
        documented,
        raises,
        lambda x: ...,
        lambda x: (x, ...),
        lambda x: 2 * ...,
        lambda x: x.reshape(...),
    ]
    for stub in stubs:
        assert kind(stub)[0] == "not attempted"


def test_two_dots_too_many_are_a_mistake_not_a_stub() -> None:
    assert kind(lambda x: x[..., ..., None])[0] == "not yet"


def test_a_forgotten_return_is_no_stub() -> None:
    def forgets(x):
        x = 2 * x

    assert kind(forgets) == ("not yet", "your function returns None.\nLikely cause: the `return` is missing.")


def test_nothing_that_an_answer_does_raises() -> None:
    assert "SystemExit" in kind(lambda x: sys.exit(1))[1]
    assert "could not be compared" in kind(lambda x: (2 * x).to_sparse())[1]
    assert "could not be compared" in kind(lambda x: (2 * x).to("meta"))[1]


def test_a_right_answer_passes() -> None:
    assert kind(lambda x: 2 * x) == ("passed", "well done.")
    assert kind(lambda x: x + x + 1e-7)[0] == "passed"


def test_a_wrong_answer_is_told_what_where_and_why() -> None:
    outcome, text = kind(lambda x: 4 * x)
    assert outcome == "not yet"
    assert "at [0, 0] should be 2.0000, but is 4.0000" in text
    assert "Likely cause: one factor too many." in text
    assert kind(lambda x: 2 * x[0])[1] == "the result should have shape (2, 2), but has (2,)."
    assert "should be a torch.Tensor, but it is a ndarray" in kind(lambda x: 2 * x.numpy())[1]


def test_the_first_mismatch_is_the_one_reported() -> None:
    assert "at [1, 0] should be 6.0000, but is 7.0000" in kind(lambda x: 2 * x + torch.tensor([[0, 0], [1, 1]]))[1]


def test_nan_and_other_dtypes_are_differences_or_not() -> None:
    assert kind(lambda x: 2 * x.double())[0] == "passed"
    assert "is nan" in kind(lambda x: x * float("nan"))[1]


def test_what_the_learner_raises_is_reported_with_its_line() -> None:
    def wrong(x):
        return x.view(7)

    outcome, text = kind(wrong)
    assert outcome == "not yet"
    assert "stopped with RuntimeError" in text
    assert text.endswith("It happened in: return x.view(7)")


def test_handing_in_a_value_or_changing_the_input_is_explained() -> None:
    assert kind(torch.ones(2, 2)) == ("not yet", "hand in the function itself, not a Tensor.")
    assert "changes what it was given" in kind(lambda x: x.mul_(2))[1]


def test_changed_numpy_inputs_are_noticed() -> None:
    def wrong(x):
        x[0] = 9
        return x

    with pytest.raises(NotYet, match="changes what it was given"):
        call(wrong, np.arange(3.0))


def test_same_tells_nested_values_apart() -> None:
    assert feedback._same([torch.ones(2), (1, "a")], [torch.ones(2), (1, "a")])
    assert not feedback._same([torch.ones(2)], [torch.zeros(2)])
    assert not feedback._same(np.ones(2), np.ones(2, np.float32))


def test_hints_come_one_at_a_time_and_end_at_the_solution() -> None:
    texts = [exercises.hint("1.9").text for _ in range(4)]
    assert texts[:2] == ["(1 of 2) First.", "(2 of 2) Second."]
    assert texts[2] == texts[3]
    assert texts[2].endswith("the solution stands in notebooks/solutions/01_load_matconvnet.ipynb.")


@pytest.mark.parametrize("number", ["1.8", "77.1", "x"])
def test_an_unknown_exercise_is_a_clear_key_error(number) -> None:
    with pytest.raises(KeyError, match=re.escape(repr(number))):
        exercises.check(number, None)


def test_a_number_without_quotes_is_told_so() -> None:
    with pytest.raises(KeyError, match=r"in quotes: '1\.1'"):
        exercises.hint(1.1)


def test_feedback_is_escaped_and_works_in_both_themes() -> None:
    html = exercises.Feedback("1.9", "not yet", "a < b\nnext")._repr_html_()
    assert "a &lt; b<br>next" in html
    assert "var(--jp-warn-color1" in html
    assert repr(exercises.Feedback("1.9", "passed", "well done.")) == "1.9 passed: well done."
