import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.data.names import check_name

BAD = [
    *("", ".", "..", "../../evil", "/abs", "a/b", "a\\b", "..\\a", "a\0b", "a\nb", "a\n", "\t"),
    *(" a", "a ", ".a", "a.", "-a", "a:b", "a*", "~", "$HOME", "a|b", "%2e%2e", "models.config"),
    *("x" * 201, "é" * 101, "\u200b", "a\u202eb", "\ud800", "\u0301a", "．．／"),
    *(2024, None, True, 1.5, ["a"], {}, b"a"),
]


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_plain_name_of_a_folder(name):
    with pytest.raises(ValueError, match="channels: a name must be") as refusal:
        check_name("channels", name)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


def test_a_number_is_no_name_until_it_is_in_quotes():
    with pytest.raises(ValueError, match=r"must be text, not 2024 \(in quotes, '2024', it is"):
        check_name("name", 2024)
    check_name("name", "2024")


@pytest.mark.parametrize(
    "name",
    [
        *("model", "two_tower", "2024", "a b", "_x", "a.b-c", "x" * 200),
        *("modèle", "mode\u0300le", "हिन्दी", "模型", "модель"),
    ],
)
def test_letters_of_any_script_make_names(name, tmp_path):
    check_name("name", name)
    (tmp_path / f".{name}.{'0' * 32}.part").mkdir()  # the longest that is named after it
    (tmp_path / name).mkdir()


@given(st.text(max_size=8) | st.text("./\\ a~\0-\n", max_size=5))
@settings(max_examples=300, deadline=None)
def test_a_name_is_one_folder_below_and_prints(name):
    try:
        check_name("name", name)
    except ValueError:
        return
    assert name == name.strip() and not set(name) & set('/\\\0:*?"<>|') and name[0] not in ".-"
    assert not any(unicodedata.category(letter)[0] == "C" for letter in name)
