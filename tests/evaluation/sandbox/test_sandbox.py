"""What passes, what does not, and that nothing is left behind. Attacks have a file of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autonas.errors import RequestError
from autonas.evaluation.sandbox import Limits, Sandbox, Verdict

ADD = "def add(a, b):\n    return a + b\n"
TESTS = "assert add(1, 2) == 3\nassert add(20, 22) == 42\n"

LEAVING = """
import threading, time
open('/tmp/autonas-left', 'w').write('x')
threading.Thread(target=time.sleep, args=(99,)).start()
"""

# (program, tests) of right programs, one for each way in which tests and programs meet.
RIGHT = {
    "asserts": (ADD, TESTS),
    "check": (
        ADD,
        """
def check(candidate):
    for n in range(3):
        assert candidate(n, 1) == n + 1
check(add)
""",
    ),
    "plain_values": (
        r"""
def give():
    return [
    None, True, 1, 2.5, -0.0, float('inf'), 1j, 's\ud800', b'b', (1, (2,)), {1}, frozenset({2}), {'k': [1]},
    range(3), slice(1, 2), ..., bytearray(b'x'), 2**9000,
    ]
""",
        r"""
assert give() == [
    None, True, 1, 2.5, 0.0, float('inf'), 1j, 's\ud800', b'b', (1, (2,)), {1}, frozenset({2}), {'k': [1]},
    range(3), slice(1, 2), ..., bytearray(b'x'), 2**9000,
    ]
assert type(give()[9]) is tuple
assert str(give()[4]) == '-0.0'
""",
    ),
    "not_a_number": (
        """
def nan():
    return float('nan')
""",
        "assert nan() != nan()",
    ),
    "library_values": (
        """
import collections, datetime, decimal, fractions
def give():
    return (decimal.Decimal('1.50'), fractions.Fraction(1, 3),
        datetime.date(2020, 2, 1), datetime.timedelta(3), collections.deque([1], 4),
        collections.Counter('aab'), collections.OrderedDict(a=1),
        collections.namedtuple('P', 'x y')(1, 2))
""",
        """
import collections, datetime, decimal, fractions
assert give() == (decimal.Decimal('1.5'), fractions.Fraction(1, 3),
    datetime.date(2020, 2, 1), datetime.timedelta(3),
    collections.deque([1]), {'a': 2, 'b': 1}, {'a': 1}, (1, 2))
""",
    ),
    "views_of_a_dictionary": (
        """
def give():
    return {1: 2}
""",
        """
assert list(give().keys()) == [1]
assert give().items() == {(1, 2)}
assert sorted(give().values()) == [2]
""",
    ),
    "views_given": (
        """
d = {1: 2}
def k():
    return d.keys()
def v():
    return d.values()
def i():
    return d.items()
""",
        """
assert k() == {1}
assert list(v()) == [2]
assert i() == {(1, 2)}
""",
    ),
    "subclasses_as_plain_values": (
        """
import enum
class N(int):
    pass
class E(enum.IntEnum):
    A = 4
def give():
    return [N(3), E.A]
""",
        """
assert give() == [3, 4]
assert type(give()[0]) is int
""",
    ),
    "lazy_items": (
        """
def some(n):
    for i in range(n):
        yield i
def both():
    return map(str, [1]), zip([1], [2])
""",
        """
assert list(some(3)) == [0, 1, 2]
assert sum(some(4)) == 6
assert 2 in some(9)
assert 9 not in some(9)
first = some(2)
assert next(first) == 0
assert [list(each) for each in both()] == [['1'], [(1, 2)]]
""",
    ),
    "exceptions": (
        """
class Empty(ValueError):
    pass
def fail(kind):
    raise {0: Empty('x'), 1: KeyError('k'), 2: ZeroDivisionError}[kind]
""",
        """
try:
    fail(0)
    assert False
except Empty as error:
    assert error.args == ('x',)
try:
    fail(0)
    assert False
except ValueError:
    pass
for kind, expected in ((1, KeyError), (2, ArithmeticError)):
    try:
        fail(kind)
    except expected:
        continue
    assert False
assert issubclass(Empty, ValueError)
""",
    ),
    "functions_given": (
        """
def apply(f, values, key=None):
    return sorted(map(f, values), key=key)
""",
        """
assert apply(lambda v: v * 2, [2, 1]) == [2, 4]
assert apply(str, [1], key=len) == ['1']
assert apply(abs, [-3, 2], key=lambda v: -v) == [3, 2]
""",
    ),
    "a_function_that_fails_when_called_back": (
        """
def safe(f):
    try:
        return f()
    except ZeroDivisionError:
        return 'caught'
""",
        """
assert safe(lambda: 1 // 0) == 'caught'
assert safe(lambda: 3) == 3
""",
    ),
    "functions_returned": (
        """
def adder(n):
    return lambda v: v + n
""",
        """
assert adder(2)(3) == 5
assert adder(2)(v=4) == 6
""",
    ),
    "classes": (
        """
class Stack:
    def __init__(self):
        self.items = []
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        return self.items.pop()
    def __len__(self):
        return len(self.items)
    def __getitem__(self, at):
        return self.items[at]
""",
        """
stack = Stack()
assert stack.push(3) is stack
assert len(stack) == 1
assert stack[0] == 3
assert stack.pop() == 3
assert not stack
assert isinstance(stack, Stack)
stack.items = [7]
assert stack.pop() == 7
try:
    stack.pop()
    assert False
except IndexError:
    pass
assert not hasattr(stack, 'nothing')
""",
    ),
    "objects_compared_with_each_other": (
        """
from dataclasses import dataclass
@dataclass(order=True, frozen=True)
class P:
    x: int
    def __add__(self, other):
        return P(self.x + other.x)
""",
        """
assert P(1) == P(1)
assert P(1) != P(2)
assert P(1) < P(2)
assert P(1) + P(2) == P(3)
assert str(P(1)) == 'P(x=1)'
assert sorted([P(2), P(1)])[0].x == 1
assert P(1) != 1
assert f'{P(2)}' == 'P(x=2)'
""",
    ),
    "linked_nodes": (
        """
class Node:
    def __init__(self, value):
        self.value, self.left, self.right = value, None, None
def depth(node):
    return 0 if node is None else 1 + max(depth(node.left), depth(node.right))
""",
        """
root = Node(1)
root.left = Node(2)
root.left.right = Node(3)
assert depth(root) == 3
assert root.left.right.value == 3
""",
    ),
    "a_context": (
        """
class C:
    def __enter__(self):
        return 5
    def __exit__(self, *a):
        return True
""",
        """
with C() as value:
    assert value == 5
    raise ValueError
""",
    ),
    "module_of_the_program": (
        """
import math
def root(v):
    return math.sqrt(v)
""",
        "assert math.isclose(root(2), 2 ** 0.5)",
    ),
    "values_of_the_program": (
        """
LIMIT = 3
NAMES = ['a']
""",
        """
assert LIMIT == 3
assert NAMES == ['a']
""",
    ),
    "threads": (
        """
import threading
def f():
    out = []
    t = threading.Thread(target=out.append, args=(1,))
    t.start()
    t.join()
    return out
""",
        "assert f() == [1]",
    ),
    "event_loop": (
        """
import asyncio
async def g():
    await asyncio.sleep(0)
    return 1
def f():
    return asyncio.run(g())
""",
        "assert f() == 1",
    ),
    "temporary_files": (
        """
import tempfile, pathlib
def f():
    with tempfile.TemporaryDirectory() as d:
        p = pathlib.Path(d, 'x')
        p.write_text('y')
        return p.read_text()
""",
        "assert f() == 'y'",
    ),
    "much_of_the_library": (
        """
import bisect, csv, hashlib, heapq, itertools, json, lzma, random, re, sqlite3, statistics, string, textwrap, typing, zlib
def f():
    return hashlib.sha256(b'').hexdigest()[:4] + sqlite3.connect(':memory:').execute('select 1').fetchone().__str__()
""",
        "assert f() == 'e3b0(1,)'",
    ),
    "printing": (
        """
print('x' * 60000)
def f():
    print('y')
    return 1
""",
        "assert f() == 1",
    ),
    "main_guard": (
        ADD
        + """
if __name__ == '__main__':
    input()
""",
        TESTS,
    ),
    "windows_lines": (ADD.replace("\n", "\r\n"), TESTS.replace("\n", "\r\n")),
    "a_long_value": (
        """
def f():
    return list(range(100_000))
""",
        "assert f() == list(range(100_000))",
    ),
    "draws": (
        ADD,
        """
import random
for _ in range(9):
    a = random.random()
    assert add(a, 0) == a
""",
    ),
}

# (program, tests, status)
WRONG = {
    "wrong": (
        """
def add(a, b):
    return a - b
""",
        TESTS,
        "failed",
    ),
    "raises": (
        """
def add(a, b):
    raise ValueError('no')
""",
        TESTS,
        "error",
    ),
    "raises_when_loaded": ("1 / 0", TESTS, "error"),
    "nothing": ("", TESTS, "error"),
    "a_tuple_for_a_list": (
        """
def f():
    return (1,)
""",
        "assert f() == [1]",
        "failed",
    ),
    "an_object_for_a_number": (
        """
class N:
    def __index__(self):
        return 3
def f():
    return N()
""",
        "assert f() == 3",
        "failed",
    ),
    "no_exception": (
        """
def f():
    pass
""",
        """
try:
    f()
    assert False
except ValueError:
    pass
assert True
""",
        "failed",
    ),
    "an_exit_hidden_by_the_tests": (
        """
import os
def f():
    os._exit(0)
""",
        """
try:
    f()
except BaseException:
    pass
assert True
""",
        "exited",
    ),
    "asserts_that_never_ran": (
        """
def f():
    return []
""",
        """
for item in f():
    assert item == 1
assert True
""",
        "failed",
    ),
    "changes_its_argument": (
        """
def f(values):
    values.clear()
    return []
""",
        """
given = [2, 1]
assert f(given) == sorted(given)
""",
        "failed",
    ),
    "an_operator_that_lies": (
        """
class L:
    def __rsub__(self, other):
        return 0.0
    def __sub__(self, other):
        return 0.0
def f():
    return L()
""",
        "assert abs(f() - 3.14) < 1e-6",
        "refused",
    ),
    "an_order_that_lies": (
        """
class L:
    def __gt__(self, o):
        return True
def f():
    return L()
""",
        "assert f() > 3",
        "refused",
    ),
    "a_method_that_lies": (
        """
class L:
    def startswith(self, text):
        return True
def f():
    return L()
""",
        "assert f().startswith('a')",
        "refused",
    ),
    "a_container_that_lies": (
        """
class L:
    def __contains__(self, item):
        return True
    def __iter__(self):
        return iter([])
def f():
    return L()
""",
        "assert 3 in f()",
        "failed",
    ),
    "a_module_that_lies": (
        """
class math:
    isclose = lambda *a: True
def f():
    return 0
""",
        "assert math.isclose(f(), 3.14)",
        "failed",
    ),
    "a_built_in_that_lies": (
        """
def sorted(values):
    return 3
def f():
    return 3
""",
        "assert sorted(f()) == sorted([2, 1])",
        "error",
    ),
    "an_exception_of_the_name_of_all": (
        "Error = Exception\ndef f():\n    pass",
        "try:\n    f()\n    assert False\nexcept Error:\n    pass\nassert f() is None\n",
        "error",
    ),
    "an_exception_that_is_a_failed_assert": (
        "class Error(AssertionError):\n    pass\ndef f():\n    pass",
        "try:\n    f()\n    assert False\nexcept Error:\n    pass\nassert f() is None\n",
        "failed",
    ),
    "swallows_asserts_of_a_function_that_it_is_given": (
        """
def visit(f):
    for value in range(5):
        try:
            f(value)
        except BaseException:
            pass
""",
        """
def seen(value):
    assert value == 3
visit(seen)
""",
        "failed",
    ),
    "swallows_asserts_as_a_context": (
        """
class C:
    def __enter__(self):
        return [1, 2]
    def __exit__(self, *a):
        return True
""",
        """
with C() as values:
    for value in values:
        assert value == 1
""",
        "failed",
    ),
    "ends_the_iteration_of_the_tests": (
        "def even(n):\n    raise StopIteration",
        "assert all(map(even, [2, 4]))\n",
        "error",
    ),
    "tests_without_an_assert": (ADD, "add(1, 2)", "refused"),
    "tests_that_do_not_parse": (ADD, "assert add(1, 2 == 3", "refused"),
    "tests_that_give_what_cannot_cross": (
        ADD,
        """
class T:
    pass
assert add(T(), 1) == 3
""",
        "refused",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_programs_pass(name: str, sandbox: Sandbox, nothing_left: None) -> None:
    verdict = sandbox.check(*RIGHT[name])
    assert verdict.passed, verdict
    assert verdict.message == ""
    assert verdict.seconds > 0


@pytest.mark.parametrize("name", WRONG)
def test_wrong_programs_do_not(name: str, sandbox: Sandbox) -> None:
    program, tests, status = WRONG[name]
    assert sandbox.check(program, tests).status == status


def test_the_entry_point_may_have_a_built_in_name_and_has_to_be_there(sandbox: Sandbox) -> None:
    program = "def sum(a, b):\n    return a + b\n"
    assert sandbox.check(program, "assert sum(10, 15) == 25\n", "sum").passed
    assert sandbox.check(program, "assert sum([10, 15]) == 25\n").passed  # else it is the tests' own
    verdict = sandbox.check(ADD, "def check(f):\n    assert True\ncheck(len)\n", "subtract")
    assert verdict.status == "error"
    assert "'subtract'" in verdict.message


def test_helpers_that_the_tests_define_are_theirs(sandbox: Sandbox) -> None:
    program = "def twice(v):\n    return 0\ndef half(v):\n    return 0\n"
    asserts = "assert twice(half(6)) == 6 - 6 or True\nassert twice(3) == 6\n"
    assert not sandbox.check(program, asserts).passed
    assert sandbox.check(program, f"def twice(v):\n    return 2 * v\n{asserts}").passed


def test_the_message_names_the_assert(sandbox: Sandbox) -> None:
    verdict = sandbox.check("def add(a, b):\n    return 3", TESTS)
    assert verdict.message == "AssertionError in `assert add(20, 22) == 42`"
    assert "ZeroDivisionError" in sandbox.check("def add(a, b):\n    return 1 / 0", TESTS).message


def test_the_same_program_ends_the_same_way(sandbox: Sandbox) -> None:
    order = "def order():\n    return list({str(n) for n in range(50)})\n"
    found = sandbox.check(order, "assert False, order()\nassert True\n")
    assert found.status == "failed"
    tests = "import random\nassert round(random.random(), 6) == 0.844422\nassert order() == list({str(n) for n in range(50)})\n"
    assert sandbox.check(order, tests).passed


def test_check_all_keeps_the_order_and_tells_each_place(sandbox: Sandbox, nothing_left: None) -> None:
    told: dict[int, Verdict] = {}
    pairs = [(ADD.replace("+", "+" if number % 3 else "-"), TESTS) for number in range(9)]
    verdicts = sandbox.check_all(pairs, workers=3, on_done=lambda place, verdict: told.update({place: verdict}))
    assert [verdict.passed for verdict in verdicts] == [bool(number % 3) for number in range(9)]
    assert told == dict(enumerate(verdicts))
    assert sandbox.check_all([]) == []


def test_an_error_of_the_caller_stops_the_rest(sandbox: Sandbox, nothing_left: None) -> None:
    def fail(place: int, verdict: Verdict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sandbox.check_all([(ADD, TESTS)] * 50, on_done=fail)


def test_several_threads_use_one_sandbox(sandbox: Sandbox, nothing_left: None) -> None:
    found: list[tuple[bool, bool]] = []

    def use(right: bool) -> None:
        program = ADD if right else ADD.replace("+", "*")
        found.extend((right, sandbox.check(program, TESTS).passed) for _ in range(3))

    threads = [threading.Thread(target=use, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    assert all(right == passed for right, passed in found)


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_programs_leave_nothing(count: int, impatient: Sandbox, nothing_left: None) -> None:
    kinds = [
        (ADD, True),
        ("def add(a, b):\n    return 0", False),
        ("import os\nos._exit(0)", False),
        (f"{LEAVING}def add(a, b):\n    return -1", False),
    ]
    chosen = [kinds[number % len(kinds)] for number in range(count)]
    before = entries()
    verdicts = impatient.with_limits(Limits(seconds=30.0)).check_all([(program, TESTS) for program, _ in chosen])
    assert [verdict.passed for verdict in verdicts] == [right for _, right in chosen]
    assert entries() <= before


def entries() -> set[Path]:
    """What lies where programs may write outside the sandbox, but for what others that run beside this test leave there."""
    places = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), Path.cwd())
    found = {entry for place in places if place.is_dir() for entry in place.iterdir()}
    return {entry for entry in found if not entry.name.startswith(("ray", "plasma", "pytest", ".coverage"))}


def test_bad_limits_are_no_limits() -> None:
    for wrong in ({"seconds": 0.0}, {"seconds": float("inf")}, {"memory_bytes": 1}, {"processes": -1}, {"open_files": 3}):
        with pytest.raises(RequestError, match=next(iter(wrong))):
            Limits(**wrong)


def test_limits_are_held(sandbox: Sandbox) -> None:
    hungry = "def add(a, b):\n    bytes(200 << 20)\n    return a + b\n"
    assert sandbox.check(hungry, TESTS).passed
    assert sandbox.with_limits(Limits(memory_bytes=128 << 20, seconds=30.0)).check(hungry, TESTS).status == "memory"
    chatty = "print('x' * 5000, flush=True)\n" + ADD
    assert sandbox.check(chatty, TESTS).passed
    assert sandbox.with_limits(Limits(output_bytes=4096, seconds=30.0)).check(chatty, TESTS).status == "output"
    assert sandbox.with_limits(Limits(source_bytes=10, seconds=30.0)).check(ADD, TESTS).status == "error"
    assert (
        sandbox.with_limits(Limits(value_bytes=4096)).check("def add(a, b):\n    return [0] * 9999", TESTS).status == "output"
    )
    spin = sandbox.with_limits(Limits(cpu_s=1.0, seconds=60.0)).check("while True:\n    pass", TESTS)
    assert spin.status == "timeout"
    assert spin.seconds < 59.0


def test_it_takes_the_standard_library_alone() -> None:
    script = (
        "import sys; import autonas.evaluation.sandbox; "
        "print([name for name in ('numpy', 'torch', 'psutil', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
