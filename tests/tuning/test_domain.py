import pytest
from optuna.trial import FixedTrial

from tf_recall.tuning.domain import Choices, Span, label_of, read_domain
from tf_recall.tuning.places import put, value_at, written


def takes_whole_numbers(value, at):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{at} must be a whole number of at least 1, not {value}")


def takes_lists(value, at):
    if not isinstance(value, list):
        raise ValueError(f"{at} must be a list, not {value}")


def takes_numbers(value, at):
    if not isinstance(value, int | float):
        raise ValueError(f"{at} must be a number, not {value}")


def test_a_range_is_of_whole_numbers_where_both_ends_are():
    domain = read_domain("dim", [8, 64], takes_whole_numbers)
    assert domain == Span(8, 64) and domain.whole and domain.plain() == [8, 64]
    assert domain.suggest(FixedTrial({"dim": 9}), "dim") == 9
    assert domain.holds(8) and domain.holds(64) and not domain.holds(65) and not domain.holds(8.5)
    assert not domain.holds(True) and not domain.holds(None) and not domain.holds("9")


def test_a_range_by_logarithms():
    domain = read_domain("rate", [0.5, 2, "log"], takes_numbers)
    assert domain == Span(0.5, 2, log=True) and not domain.whole
    assert domain.plain() == [0.5, 2, "log"]
    assert domain.suggest(FixedTrial({"rate": 0.75}), "rate") == 0.75


def test_a_list_that_the_argument_takes_itself_is_that_list():
    assert read_domain("units", [64, 32], takes_lists) is None


def test_choices_go_by_their_labels():
    mixture = {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 9}]}
    other = {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 8}]}
    domain = Choices(("in_batch", mixture, other, None, 3, [1, 2]))
    labels = ["in_batch", "mixture(in_batch, uniform)", "mixture(in_batch, uniform) #2", None, 3]
    assert domain.labels == [*labels, "[1, 2]"]
    assert domain.of("mixture(in_batch, uniform) #2") is other and domain.of("[1, 2]") == [1, 2]


def test_labels_of_parts_within_parts():
    sampler = {"name": "easy_hard", "easy": {"name": "uniform", "num": 1}, "hard": "given"}
    assert label_of(sampler) == "easy_hard(uniform, given)"


def test_a_range_grows_to_hold_the_value_that_a_config_has():
    assert Span(8, 64).with_start(4) == Span(4, 64) and Span(8, 64).with_start(99) == Span(8, 99)
    assert Span(8, 64).with_start(9) == Span(8, 64)
    # what cannot be in it: no number, no whole one, none above 0
    assert Span(8, 64).with_start(None) == Span(8, 64)
    assert Span(8, 64).with_start(4.5) == Span(8, 64)
    assert Span(0.1, 1.0, log=True).with_start(0.0) == Span(0.1, 1.0, log=True)


@pytest.mark.parametrize(
    "given, said",
    [
        ([0, 8], "dim must be a whole number of at least 1, not 0"),
        ([1, 0], "dim must be a whole number of at least 1, not 0"),
        ([8.5, 9], "not 8.5"),
        ([64, 8], r"dim: a range begins with its lower end, not \[64, 8\]"),
        ([1, 2, "ln"], r"dim: a range is \[low, high\] or \[low, high, log\], a choice"),
        (["a", "b"], "a range is"),
        ({"choices": []}, "a range is"),
        ({"choices": 3}, "a range is"),
        ({"choices": [1], "more": 2}, "a range is"),
        ({"choices": [1, 0]}, r"dim.choices\[1\] must be a whole number"),
        ("wide", "dim must be a whole number of at least 1, not wide$"),
        (True, "dim must be"),
    ],
)
def test_what_is_no_domain_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        read_domain("dim", given, takes_whole_numbers)


def test_a_range_by_logarithms_lies_above_0():
    with pytest.raises(ValueError, match="by logarithms lies above 0"):
        read_domain("power", [0, 1, "log"], takes_numbers)


def test_places():
    values = {"a": {"b": [{"c": 1}, {"c": 2}]}}
    place = ("a", "b", 1, "c")
    assert written(place) == "a.b[1].c" and value_at(values, place) == 2
    put(values, place, 3)
    put(values, ("x", "y.z"), 4)  # made on the way; a name may have dots
    assert values == {"a": {"b": [{"c": 1}, {"c": 3}]}, "x": {"y.z": 4}}
