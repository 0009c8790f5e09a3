"""`check` and `hint` themselves."""

import random
import re
import sys

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from workbook import check, exercises, feedback, hint
from workbook.exercises import checking
from workbook.exercises.checking import Exercise, Mistake, NotYet, call, case, cause_of, compare, wrong_values
from workbook.places import NOTEBOOKS, WORKBOOK

MISTAKES = (
    Mistake("one factor too many.", lambda x: 4 * x),
    Mistake("a square is no double.", lambda x: x**2),
    Mistake("crashes here.", lambda x: x.view(7)),
)


def verify_double(answer) -> None:
    """The made-up exercise of these tests: `double(x)` for a tensor."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    compare(call(answer, x), 2 * x, "the result", wrong_values(MISTAKES, x))


DOUBLE = Exercise(verify_double, lambda x: 2 * x, MISTAKES, ("First.", "Second."), "well done.")


@pytest.fixture(autouse=True)
def made_up_exercise(monkeypatch) -> None:
    monkeypatch.setattr(feedback, "find", lambda number: DOUBLE if number == "1.9" else exercises.find(number))
    feedback._hints_given.clear()


def kind(answer) -> tuple[str, str]:
    result = check("1.9", answer)
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

    assert kind(forgets) == (
        "not yet",
        "your function returns None.\nLikely cause: the `return` is missing, or not reached.",
    )


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
    assert checking._same([torch.ones(2), (1, "a")], [torch.ones(2), (1, "a")])
    assert not checking._same([torch.ones(2)], [torch.zeros(2)])
    assert not checking._same(np.ones(2), np.ones(2, np.float32))


def test_hints_come_one_at_a_time_and_end_at_the_solution(monkeypatch, tmp_path) -> None:
    texts = [hint("1.9").text for _ in range(4)]
    assert texts[:2] == ["(1 of 2) First.", "(2 of 2) Second."]
    assert texts[2] == texts[3]
    (solution,) = (NOTEBOOKS / "solutions").glob("01_*.ipynb")
    assert texts[2].endswith(f"the solution stands in notebooks/solutions/{solution.name}.")
    monkeypatch.setattr(feedback, "NOTEBOOKS", tmp_path)  # as in a handout
    assert hint("1.9").text.endswith("that was the last one; your teacher has the solution.")


@pytest.mark.parametrize("number", ["1.8", "77.1", "x", "1.1.1", "", "../1.1"])
def test_an_unknown_exercise_is_a_clear_key_error(number) -> None:
    with pytest.raises(KeyError, match=re.escape(repr(number))):
        check(number, None)


def test_a_number_without_quotes_is_told_so() -> None:
    with pytest.raises(KeyError, match=r"in quotes: '1\.1'"):
        hint(1.1)


def test_exchanged_arguments_are_told_so() -> None:
    with pytest.raises(KeyError, match=r"the number comes first, then the answer: check\('1\.9', \.\.\.\)"):
        check(lambda x: 2 * x, "1.9")


def test_an_import_that_fails_is_not_called_a_missing_exercise(monkeypatch, tmp_path) -> None:
    folder = tmp_path / "lesson_77"
    folder.mkdir()
    (folder / "exercise_77_1.py").write_text("")
    monkeypatch.setattr(exercises, "FOLDER", tmp_path)
    with pytest.raises(ModuleNotFoundError, match="lesson_77"):
        check("77.1", None)


def test_feedback_is_escaped_and_works_in_both_themes() -> None:
    html = feedback.Feedback("1.9", "not yet", "a < b\nnext")._repr_html_()
    assert "a &lt; b<br>next" in html
    assert "var(--jp-warn-color1" in html
    assert repr(feedback.Feedback("1.9", "passed", "well done.")) == "1.9 passed: well done."


def test_a_long_error_text_is_cut() -> None:
    def wrong(x):
        raise RuntimeError("o" * 1_000_000)

    text = kind(wrong)[1]
    assert len(text) < 1000
    assert "oo ... (1,000,014 characters)" in text


def test_messages_know_their_case_and_cases_may_be_nested() -> None:
    said = r"^for a head, in train mode, your code stopped with ZeroDivisionError"
    with pytest.raises(NotYet, match=said), case("for a head"), case("in train mode"):
        call(lambda x: 1 / 0, 1)


def test_a_cause_is_that_of_the_first_mistake_with_this_value() -> None:
    x = torch.tensor([3.0, 5.0])
    assert cause_of(4 * x, MISTAKES, x) == "one factor too many."
    assert cause_of(x**2, MISTAKES, x) == "a square is no double."
    assert cause_of(x, MISTAKES, x) is None
    assert [cause for cause, _ in wrong_values(MISTAKES, x)] == ["one factor too many.", "a square is no double."]


@pytest.mark.parametrize(
    ("spoils", "said"),
    [
        (lambda model, x: model(x).sum().backward(), "it has gradients now"),
        (lambda model, x: setattr(model, "note", 1), "other attributes than it had"),
        (lambda model, x: setattr(model, "forward", lambda x: x), "other attributes than it had"),
        (lambda model, x: model.requires_grad_(False), "other parameters require a gradient"),
        (lambda model, x: model.register_forward_hook(print), "other hooks than it had"),
        (lambda model, x: model.eval(), "it came in train mode"),
        (lambda model, x: x.requires_grad_(True), "whether a tensor requires a gradient"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_what_is_given_stays_as_it_is_in_every_respect(spoils, said, listed) -> None:
    def answer(model, x):
        spoils(model[0] if listed else model, x)
        return x

    model = torch.nn.Linear(2, 3)
    with pytest.raises(NotYet, match=said):
        call(answer, [model] if listed else model, torch.ones(1, 2))
    assert model.weight.grad is None


def test_mistakes_are_tried_on_copies() -> None:
    x = torch.ones(2)
    assert cause_of(2 * x, [Mistake("in place.", lambda x: x.mul_(2))], x) == "in place."
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize("switches", [False, True])
def test_what_is_global_stays_what_it_is(switches) -> None:
    def spoils(x):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)  # noqa: NPY002
        torch.set_default_device("meta")
        if switches:
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
        return 2 * x

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    found, text = kind(spoils)
    assert found == ("not yet" if switches else "passed")
    assert ("leaves gradients or the default type switched" in text) == switches
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]
    assert torch.ones(1).device.type == "cpu"
    assert torch.ones(1).dtype == torch.float32
    assert torch.is_grad_enabled()


def in_a_notebook(*cells: str) -> list[list[str]]:
    """What a kernel shows of each cell: texts of all that is displayed, results included."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(WORKBOOK)}}).execute()
    return [[output.data["text/plain"] for output in cell.outputs] for cell in notebook.cells]


def test_check_and_hint_show_their_answer_once_wherever_they_stand() -> None:
    said = in_a_notebook(
        'from workbook import check, hint\nfirst = check("0.1", ...)',
        'check("0.1", ...)\nprint(end="")',
        'check("0.1", ...)',
        'hint("0.1")\ncheck("0.1", ...)\n1 + 1',
        "first",
    )
    open_one = "0.1 not attempted: replace the dots and run the cell again; hint('0.1') helps."
    assert said[0] == said[1] == said[2] == said[4] == [open_one]
    assert said[3][0].startswith("0.1 hint: (1 of 3)")
    assert said[3][1:] == [open_one, "2"]
