"""The embedded Python prompts of the collapse rate: few-shot ones (worked examples, then a head to go on from) and bare lines.

The first eleven few-shot prompts are the prior system's: functions after add and multiply, classes after Counter, algorithms
after binary_search. The others are of their kind. All fit 196 tokens of a vocabulary of 2,048. Which of them a study uses is
decided in prompts.py. Changing any changes what collapse rates mean: raise SUITE_VERSION in detectors/ then.
"""

from __future__ import annotations

from typing import Final

_ADD_MULTIPLY: Final = """def add(a, b):
    return a + b

def multiply(a, b):
    return a * b

"""
_COUNTER: Final = """class Counter:
    def __init__(self):
        self.count = 0

    def increment(self):
        self.count += 1
        return self.count

"""
_BINARY_SEARCH: Final = """def binary_search(items, target):
    low, high = 0, len(items) - 1
    while low <= high:
        middle = (low + high) // 2
        if items[middle] == target:
            return middle
        if items[middle] < target:
            low = middle + 1
        else:
            high = middle - 1
    return -1

"""
_STRINGS: Final = '''def shout(text):
    """Return the text in upper case."""
    return text.upper()

def first_word(text):
    """Return the first word of the text."""
    return text.split()[0]

'''
_FILES: Final = """import os

def read_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()

def file_size(path):
    return os.stat(path).st_size

"""
_TESTS: Final = """import unittest

class ListTest(unittest.TestCase):
    def test_append(self):
        items = []
        items.append(1)
        self.assertEqual(items, [1])

    def test_len(self):
        self.assertEqual(len([1, 2, 3]), 3)

"""
_POINT: Final = """class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __repr__(self):
        return f"Point({self.x}, {self.y})"

"""
_ERRORS: Final = """class ConfigError(Exception):
    pass

def parse_int(text, default=None):
    try:
        return int(text)
    except ValueError:
        return default

"""
_COLLECTIONS: Final = """from collections import defaultdict

def group_by(items, key):
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)

"""

# Worked examples, then the heads that each makes a prompt of.
_FEW_SHOT: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        _ADD_MULTIPLY,
        ("def subtract(a, b):", "def divide(a, b):", "def max_value(a, b):", "def factorial(n):", "def is_even(n):"),
    ),
    (_COUNTER, ("class Timer:", "class Stack:", "class Queue:")),
    (_BINARY_SEARCH, ("def linear_search(items, target):", "def bubble_sort(items):", "def reverse_list(items):")),
    # Of their kind.
    (_STRINGS, ("def last_word(text):", "def count_vowels(text):", "def is_palindrome(text):", "def title_case(text):")),
    (
        _FILES,
        ("def write_text(path, text):", "def list_files(folder):", "def copy_file(source, target):", "def read_lines(path):"),
    ),
    (_POINT, ("class Circle:", "class Rectangle:", "class Vector:", "class Line:")),
    (_TESTS, ("class DictTest(unittest.TestCase):", "class StringTest(unittest.TestCase):", "    def test_pop(self):")),
    (_ERRORS, ("class NetworkError(Exception):", "def parse_float(text, default=None):", "def load_config(path):")),
    (_COLLECTIONS, ("def count_items(items):", "def unique(items):", "def flatten(lists):", "def chunks(items, size):")),
    (_ADD_MULTIPLY, ("def power(base, exponent):", "def mean(values):", "def gcd(a, b):", "def clamp(x, low, high):")),
    (_COUNTER, ("class LinkedList:", "class Cache:", "class Logger:", "class BankAccount:")),
    (_BINARY_SEARCH, ("def insertion_sort(items):", "def merge(left, right):", "def find_max(items):", "def fibonacci(n):")),
)

FEW_SHOT_PROMPTS: Final = tuple(context + head + "\n" for context, heads in _FEW_SHOT for head in heads)

BARE_PROMPTS: Final = (
    "def add(a, b):",
    "def main():",
    "class Stack:",
    "import os",
    "def __init__(self, name):",
    "for i in range(10):",
    "def read_file(path):",
    "if __name__ == '__main__':",
    "from collections import",
    "class Node(object):",
    "def is_prime(n):",
    "try:",
    "def parse_args(argv=None):",
    "    return self.",
    "with open(filename, 'r') as f:",
    "def fibonacci(n):",
    "class MyError(Exception):",
    "import sys, os",
    "def test_empty(self):",
    "while True:",
    "def get_value(self, key, default=None):",
    "result = []",
    "class Parser:",
    "def __repr__(self):",
    "# Return the number of",
    "raise ValueError(",
    "def sort(items, reverse=False):",
    "from typing import",
    "class TestCase(unittest.TestCase):",
    "def connect(self, host, port):",
    "assert isinstance(",
    "def to_string(obj):",
    "lines = text.split(",
    "def __eq__(self, other):",
    "@property",
    "def close(self):",
    "x = [1, 2, 3]",
    "def log(message, level='info'):",
    "class Queue:",
    "def reverse(s):",
    "print(",
    "def factorial(n):",
    "async def fetch(url):",
    "def split_path(path):",
    "elif name == ",
    "def __len__(self):",
    "self.assertEqual(",
    "return None",
)
