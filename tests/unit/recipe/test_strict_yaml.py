"""YAML of ours: nothing is lost silently, and nothing runs for ever."""

import os
import time

import pytest

from renal.errors import InputError
from renal.recipe.strict_yaml import read_mapping
from tests.unit.recipe.helpers import assert_one_line

BOMB = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
DEEP = "a: " + "[" * 5000


def told(path, content: bytes | str) -> pytest.ExceptionInfo:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read_mapping(path)
    return error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is said twice, in lines 1 and 3"),
        ("a: {b: 1, 'b': 2}", "'b' is said twice, in lines 1 and 1"),
        ("a:\n- b:\n    c: 1\n    d: 2\n    c: 3\n", "'c' is said twice, in lines 3 and 5"),
        ("1: a\n0x1: b\n", "'1' = '0x1' is said twice, in lines 1 and 2"),
        ("a: {1: b, 01: c}", "'1' = '01' is said twice, in lines 1 and 1"),
        ("yes: a\ntrue: b\n", "'yes' = 'true' is said twice, in lines 1 and 2"),
        ("~: a\nb: c\nnull: d\n", "'~' = 'null' is said twice, in lines 1 and 3"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a\n", "'<<' is said twice, in lines 3 and 4"),
        ("overrides:\n  a: {}\noverrides: {}\n", "'overrides' is said twice, in lines 1 and 3"),
    ],
)
def test_a_key_that_is_said_twice_is_told_with_both_lines(tmp_path, content, words):
    error = told(tmp_path / "my.yaml", content)
    assert_one_line(error, f"{tmp_path / 'my.yaml'}: {words}")


@pytest.mark.parametrize("content", [f"a0: &a0 [1, 2]\n{BOMB}", "a: &a [*a]", "a: &a {b: *a}"])
def test_aliases_are_bounded(tmp_path, content):
    start = time.monotonic()
    assert_one_line(told(tmp_path / "my.yaml", content), "my.yaml: its aliases stand for more than")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("data:\n  test: [00210]\n", "line 2: 00210 is 136 in YAML"),
        ("a: -010", "line 1: -010 is -8 in YAML"),
        ("a: 1:30", "line 1: 1:30 is 90 in YAML"),
        ("a: 1:30.5", "line 1: 1:30.5 is 90.5 in YAML"),
    ],
)
def test_a_number_that_means_another_one_than_it_looks_like_is_told(tmp_path, content, words):
    assert_one_line(told(tmp_path / "my.yaml", content), f"{tmp_path / 'my.yaml'}: {words}")


def test_numbers_that_mean_what_they_look_like_are_read(tmp_path):
    (tmp_path / "my.yaml").write_text("a: [0, 0.5, -7, 1_000, 0x1F, '00210', 00810, 010-020]\n")
    numbers = [0, 0.5, -7, 1000, 31, "00210", "00810", "010-020"]
    assert read_mapping(tmp_path / "my.yaml") == {"a": numbers}


def test_aliases_and_merge_keys_are_read(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("\ufeffa: &a {b: 1, c: 2}\nd: {<<: *a, b: 3}\ne: [*a, *a]\n", encoding="utf-8")
    both = {"b": 1, "c": 2}
    assert read_mapping(path) == {"a": both, "d": {"b": 3, "c": 2}, "e": [both, both]}


@pytest.mark.parametrize(
    "content",
    [
        *(b"a: \xff\xfe", "a: [1", DEEP, "a: 2019-13-45", "a: !!int ''", "a: !!bool x", "a: *b"),
        *("a: " + "1" * 5000, "? [a]\n: b", "a: 1\n--- \nb: 2"),
    ],
)
def test_what_is_no_yaml_is_told(tmp_path, content):
    assert_one_line(told(tmp_path / "my.yaml", content), "my.yaml: not valid YAML (")


@pytest.mark.parametrize("content", ["", "# nothing\n", "- a\n", "a", "null"])
def test_what_has_no_keys_is_told(tmp_path, content):
    assert_one_line(told(tmp_path / "my.yaml", content), "my.yaml: a mapping of keys is expected")


def test_what_cannot_be_read_is_told(tmp_path):
    pipe, missing = tmp_path / "pipe.yaml", tmp_path / "none.yaml"
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path, "no regular file"),
        (pipe, "no regular file"),
        (missing, "No such file"),
    ):
        with pytest.raises(InputError) as error:
            read_mapping(path)
        assert_one_line(error, f"{path}: cannot be read ({words}")
