from __future__ import annotations

from pathlib import Path

import pytest

from autonas.errors import RecipeError
from autonas.space.node import Node
from autonas.space.reading import MAX_DEPTH, parse_yaml, read_yaml


def complaint(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, "s.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_places_and_lines_are_those_of_the_file() -> None:
    root = parse_yaml("a: 1\nb:\n  - x\n  - {c: [1,\n     2]}\n", "s.yaml")
    b = root.entries()["b"]
    assert (b.place, b.line) == ("b", 2)
    inner = b.items()[1].entries()["c"].items()[1]
    assert (inner.place, inner.line, inner.content) == ("b[1].c[1]", 5, "2")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: !!python/object/apply:os.system [ls]\n", 1, "tag"),
        ("a: 1\nb: !thing x\n", 2, "tag"),
        ("a: !!str 1\n", 1, "tag"),
        ("a: &x [1]\nb: *x\n", 1, "anchor"),
        ("a: *x\n", 1, "alias"),
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ("x:\n  a: 1\n  'a': 3\n", 3, "twice"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: [1, 2\nb: 3\n", 2, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ("? [a, b]\n: 1\n", 1, "key"),
        ("- a\n- b\n", 1, "not a mapping"),
        ("just text\n", 1, "not a mapping"),
        ("a: 1\nb: \x07\n", 2, "control character"),
        ("a: \0\n", 1, "control character"),
    ],
)
def test_what_a_space_file_may_not_use_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    message = complaint(text)
    assert message.startswith(f"s.yaml:{line}: ")
    assert says in message


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n", "~\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert "empty" in complaint(text)


def test_an_impossible_escape_is_refused() -> None:
    assert "not YAML" in complaint('a: "\\UFFFFFFFF"\n')


def test_depth_is_bounded_without_recursion() -> None:
    assert f"more than {MAX_DEPTH} deep" in complaint("a: " + "[" * 5000)
    assert f"more than {MAX_DEPTH} deep" in complaint("{a: " * 5000)


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    assert complaint("\n".join(lines)).startswith("s.yaml:1: an anchor")


def test_too_many_entries_are_refused() -> None:
    assert "entries" in complaint("a: [" + "1," * 30_000 + "]")


def test_yaml_1_1_types_do_not_apply() -> None:
    root = parse_yaml("on: no\nb: 1e-3\nc: 1:30\nd: 2024-01-01\n", "s.yaml")
    assert {key: node.content for key, node in root.entries().items()} == {
        "on": "no",
        "b": "1e-3",
        "c": "1:30",
        "d": "2024-01-01",
    }
    assert root.entries()["b"].number() == 0.001
    for key in ("on", "c", "d"):
        with pytest.raises(RecipeError):
            root.entries()[key].number()
    with pytest.raises(RecipeError, match="write true or false"):
        root.entries()["on"].flag()


def test_quotes_make_a_text_unless_a_unit_says_number() -> None:
    root = parse_yaml("a: '4'\nb: \"30M\"\nc: 'true'\n", "s.yaml").entries()
    assert root["b"].whole() == 30_000_000
    with pytest.raises(RecipeError, match="without quotes"):
        root["a"].whole()
    with pytest.raises(RecipeError, match="true or false"):
        root["c"].flag()


def test_unknown_keys_are_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(RecipeError, match=r"s.yaml:2: widht: 'widht' is an unknown key; did you mean 'width'\?"):
        parse_yaml("layers: 1\nwidht: 2\n", "s.yaml").section(("layers", "width"))


def test_complaints_are_one_printable_line() -> None:
    node = parse_yaml('a: "x\\n\\e[31m\\u202e"\n', "s.yaml").entries()["a"]
    message = str(node.complaint(f"is {node.shown}, wrong"))
    assert message.isprintable()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"a: \xff\n", "UTF-8"), (b"x: 1\na: \xc3(\n", "s.yaml:2"), (b"a: 1\n" * 300_000, "larger"), (b"", "empty")],
)
def test_unreadable_bytes_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=says):
        read_yaml(path)


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert list(read_yaml(path).entries()) == ["a", "b"]


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b", "x" * 5000])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError):
        read_yaml(tmp_path / name)


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: 1\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, whom no mode stops
    with pytest.raises(RecipeError, match="no permission to read"):
        read_yaml(path)


def test_a_long_value_is_shown_short() -> None:
    node = Node(content="x" * 1000, place="a", source="s.yaml", line=1, plain=True)
    assert len(node.shown) < 80
