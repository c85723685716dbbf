"""One real continuation of each embedded Python prompt, as a good programmer would go on: what a model's are compared with.

Each begins where its prompt stops and has 70 to 130 tokens of a vocabulary of 2,048: the body that was asked for, then what
would come next in the file. They are in several hands' styles on purpose. Changing any changes what is inside the range of
real text: raise degeneration.RANGE_VERSION then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from autonas.evaluation.python_prompts import BARE_PROMPTS, FEW_SHOT_PROMPTS

# By the last line of the prompt: the head that waits for a body.
_AFTER_HEAD: Final[Mapping[str, str]] = {
    "def subtract(a, b):": """\
    return a - b

def negate(a):
    return subtract(0, a)

def power(a, n):
    if n < 0:
        raise ValueError("n must not be negative")
    result = 1
    for _ in range(n):
        result = multiply(result, a)
    return result

def dot(u, v):
    return sum(multiply(x, y) for x, y in zip(u, v))
""",
    "def divide(a, b):": """\
    if b == 0:
        raise ZeroDivisionError("cannot divide %r by zero" % a)
    return a / b

def mean(numbers):
    total = 0
    for number in numbers:
        total = add(total, number)
    return divide(total, len(numbers))
""",
    "def max_value(a, b):": """\
    if a > b:
        return a
    return b

def min_value(a, b):
    return a if a < b else b

def clamp(value, low, high):
    # The lower bound wins when the two are the wrong way round.
    return max_value(low, min_value(value, high))
""",
    "def factorial(n):": """\
    if n < 0:
        raise ValueError("factorial() not defined for negative values")
    result = 1
    while n > 1:
        result = multiply(result, n)
        n -= 1
    return result

def combinations(n, k):
    if k > n:
        return 0
    return factorial(n) // (factorial(k) * factorial(n - k))
""",
    "def is_even(n):": """\
    return n % 2 == 0

def is_odd(n):
    return not is_even(n)

def split_parity(numbers):
    evens, odds = [], []
    for n in numbers:
        (evens if is_even(n) else odds).append(n)
    return evens, odds
""",
    "class Timer:": '''\
    """Measure how long a block of code takes."""

    def __init__(self):
        self.started = None
        self.elapsed = 0.0

    def start(self):
        self.started = time.perf_counter()

    def stop(self):
        if self.started is None:
            raise RuntimeError("timer is not running")
        self.elapsed += time.perf_counter() - self.started
        self.started = None
''',
    "class Stack:": """\
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()

    def peek(self):
        return self.items[-1] if self.items else None

    def __len__(self):
        return len(self.items)

    def __bool__(self):
        return bool(self.items)
""",
    "class Queue:": """\
    def __init__(self, maxsize=0):
        self.maxsize = maxsize
        self.items = []

    def put(self, item):
        if self.maxsize and len(self) >= self.maxsize:
            raise OverflowError("queue is full")
        self.items.append(item)

    def get(self):
        return self.items.pop(0)

    def __len__(self):
        return len(self.items)
""",
    "def linear_search(items, target):": """\
    for index, item in enumerate(items):
        if item == target:
            return index
    return -1

def search(items, target, is_sorted=False):
    if is_sorted:
        return binary_search(items, target)
    return linear_search(items, target)
""",
    "def bubble_sort(items):": """\
    items = list(items)
    for end in range(len(items) - 1, 0, -1):
        swapped = False
        for i in range(end):
            if items[i] > items[i + 1]:
                items[i], items[i + 1] = items[i + 1], items[i]
                swapped = True
        if not swapped:
            break  # nothing moved, so the rest is in order
    return items
""",
    "def reverse_list(items):": """\
    left, right = 0, len(items) - 1
    while left < right:
        items[left], items[right] = items[right], items[left]
        left += 1
        right -= 1
    return items

def rotate(items, steps):
    if not items:
        return items
    steps %= len(items)
    return items[-steps:] + items[:-steps]
""",
    "def last_word(text):": '''\
    """Return the last word of the text."""
    return text.split()[-1]

def longest_word(text):
    """Return the longest word; the first of them if there are several."""
    return max(text.split(), key=len)

def initials(name):
    """Return the first letters of a name."""
    return "".join(part[0].upper() for part in name.split())
''',
    "def count_vowels(text):": '''\
    """Return how many vowels there are in the text."""
    return sum(1 for letter in text.lower() if letter in "aeiou")

def count_words(text):
    """Return a dictionary that maps each word to its frequency."""
    counts = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts
''',
    "def is_palindrome(text):": '''\
    """Return True if the text reads the same backwards.

    Case, spaces and punctuation do not count.
    """
    letters = [c.lower() for c in text if c.isalnum()]
    return letters == letters[::-1]

def is_anagram(first, second):
    """Return True if both texts have the same letters."""
    return sorted(first) == sorted(second)
''',
    "def title_case(text):": '''\
    """Return the text with every word capitalised."""
    small = {"a", "an", "and", "of", "the"}
    words = []
    for i, word in enumerate(text.lower().split()):
        if i == 0 or word not in small:
            word = word.capitalize()
        words.append(word)
    return " ".join(words)
''',
    "def write_text(path, text):": """\
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)

def append_line(path, line):
    with open(path, "a", encoding="utf-8") as file:
        file.write(line.rstrip() + os.linesep)

def remove(path):
    try:
        os.remove(path)
    except FileNotFoundError:
        return False
    return True
""",
    "def list_files(folder):": """\
    names = []
    for entry in os.scandir(folder):
        if entry.is_file():
            names.append(entry.name)
    return sorted(names)

def total_size(folder):
    total = 0
    for root, dirs, files in os.walk(folder):
        for name in files:
            total += file_size(os.path.join(root, name))
    return total
""",
    "def copy_file(source, target):": """\
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    with open(source, "rb") as fsrc, open(target, "wb") as fdst:
        while chunk := fsrc.read(64 * 1024):
            fdst.write(chunk)
    return target
""",
    "def read_lines(path):": """\
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if line and not line.startswith("#"):
                lines.append(line)
    return lines

def count_lines(path):
    with open(path, "rb") as file:
        return sum(1 for _ in file)
""",
    "class Circle:": """\
    def __init__(self, center, radius):
        if radius < 0:
            raise ValueError("radius must be positive")
        self.center = center
        self.radius = radius

    def area(self):
        return math.pi * self.radius ** 2
""",
    "class Rectangle:": """\
    def __init__(self, left, top, width, height):
        self.left = left
        self.top = top
        self.width = width
        self.height = height

    @property
    def right(self):
        return self.left + self.width

    @property
    def bottom(self):
        return self.top + self.height
""",
    "class Vector:": """\
    def __init__(self, *parts):
        self.parts = tuple(parts)

    def __add__(self, other):
        if len(self.parts) != len(other.parts):
            return NotImplemented
        return Vector(*(a + b for a, b in zip(self.parts, other.parts)))

    def __mul__(self, factor):
        return Vector(*[factor * part for part in self.parts])
""",
    "class Line:": '''\
    """A straight line from one point to another."""

    def __init__(self, start, end):
        self.start = start
        self.end = end

    def length(self):
        return math.hypot(self.end.x - self.start.x, self.end.y - self.start.y)

    def midpoint(self):
        return Point((self.start.x + self.end.x) / 2, (self.start.y + self.end.y) / 2)
''',
    "class DictTest(unittest.TestCase):": """\
    def setUp(self):
        self.ages = {"ann": 31, "bob": 27}

    def test_get_default(self):
        self.assertIsNone(self.ages.get("carl"))
        self.assertEqual(self.ages.get("carl", 0), 0)

    def test_missing_key(self):
        with self.assertRaises(KeyError):
            self.ages["dora"]
""",
    "class StringTest(unittest.TestCase):": """\
    def test_upper(self):
        self.assertEqual("foo".upper(), "FOO")

    def test_split(self):
        s = "hello world"
        self.assertEqual(s.split(), ["hello", "world"])
        # A separator that is no string is an error.
        with self.assertRaises(TypeError):
            s.split(2)
""",
    "    def test_pop(self):": """\
        items = [1, 2, 3]
        self.assertEqual(items.pop(), 3)
        self.assertEqual(items.pop(0), 1)
        self.assertEqual(items, [2])

    def test_pop_from_empty_list(self):
        self.assertRaises(IndexError, [].pop)
""",
    "class NetworkError(Exception):": """\
    def __init__(self, host, reason):
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason

class TimeoutExpired(NetworkError):
    def __init__(self, host, seconds):
        super().__init__(host, f"no answer in {seconds} s")
""",
    "def parse_float(text, default=None):": """\
    try:
        return float(text)
    except (TypeError, ValueError):
        return default

def parse_bool(text):
    value = text.strip().lower()
    if value in ("1", "yes", "true", "on"):
        return True
    if value in ("0", "no", "false", "off"):
        return False
    raise ConfigError("not a boolean: %r" % text)
""",
    "def load_config(path):": """\
    config = {}
    try:
        with open(path) as f:
            lines = f.readlines()
    except OSError as exc:
        raise ConfigError(f"cannot read {path}") from exc
    for line in lines:
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition("=")
        config[key.strip()] = value.strip()
    return config
""",
    "def count_items(items):": """\
    counts = defaultdict(int)
    for item in items:
        counts[item] += 1
    return dict(counts)

def most_common(items, n=None):
    counts = count_items(items)
    ranked = sorted(counts.items(), key=lambda pair: pair[1], reverse=True)
    return ranked[:n]
""",
    "def unique(items):": """\
    seen = set()
    result = []
    for item in items:
        if item not in seen:
            seen.add(item)
            result.append(item)
    return result

def partition(items, predicate):
    groups = group_by(items, lambda item: bool(predicate(item)))
    return groups.get(True, []), groups.get(False, [])

def first(items, default=None):
    return next(iter(items), default)
""",
    "def flatten(lists):": """\
    for item in lists:
        if isinstance(item, (list, tuple)):
            yield from flatten(item)
        else:
            yield item

def merge_dicts(*dicts):
    merged = defaultdict(list)
    for d in dicts:
        for k, v in d.items():
            merged[k].append(v)
    return merged
""",
    "def chunks(items, size):": """\
    if size < 1:
        raise ValueError("size must be at least 1")
    for start in range(0, len(items), size):
        yield items[start:start + size]

def window(items, size):
    for start in range(len(items) - size + 1):
        yield tuple(items[start:start + size])
""",
    "def power(base, exponent):": """\
    if exponent < 0:
        return 1 / power(base, -exponent)
    result = 1
    while exponent:
        if exponent & 1:
            result = multiply(result, base)
        base = multiply(base, base)
        exponent >>= 1
    return result

def is_square(n):
    return power(round(n ** 0.5), 2) == n
""",
    "def mean(values):": """\
    values = list(values)
    if not values:
        raise ValueError("mean() of no values")
    return sum(values) / len(values)

def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return mean(ordered[middle - 1:middle + 1])
""",
    "def gcd(a, b):": """\
    while b:
        a, b = b, a % b
    return abs(a)

def lcm(a, b):
    if a == 0 or b == 0:
        return 0
    return abs(multiply(a, b)) // gcd(a, b)

def gcd_of(numbers):
    result = 0
    for number in numbers:
        result = gcd(result, number)
    return result
""",
    "def clamp(x, low, high):": """\
    assert low <= high, (low, high)
    return max(low, min(x, high))

def lerp(a, b, t):
    return add(multiply(a, 1 - t), multiply(b, t))

def smooth(a, b, t):
    # Slow at both ends, fast in the middle.
    return lerp(a, b, t * t * (3 - 2 * t))
""",
    "class LinkedList:": """\
    def __init__(self, values=()):
        self.head = None
        self.size = 0
        for value in reversed(values):
            self.prepend(value)

    def prepend(self, value):
        self.head = (value, self.head)
        self.size += 1

    def __iter__(self):
        node = self.head
        while node is not None:
            value, node = node
            yield value
""",
    "class Cache:": """\
    def __init__(self, capacity=128):
        self.capacity = capacity
        self.data = {}

    def get(self, key, default=None):
        return self.data.get(key, default)

    def set(self, key, value):
        if len(self.data) >= self.capacity:
            # The oldest comes first.
            self.data.pop(next(iter(self.data)))
        self.data[key] = value
""",
    "class Logger:": """\
    LEVELS = ("debug", "info", "warning", "error")

    def __init__(self, level="info", stream=None):
        self.level = self.LEVELS.index(level)
        self.stream = stream or sys.stderr

    def log(self, level, message, *args):
        if self.LEVELS.index(level) < self.level:
            return
        self.stream.write(level + ": " + message % args)
""",
    "class BankAccount:": """\
    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance
        self._history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("deposit must be positive")
        self.balance += amount
        self._history.append(("deposit", amount))
""",
    "def insertion_sort(items):": """\
    for i in range(1, len(items)):
        current = items[i]
        j = i
        while j > 0 and items[j - 1] > current:
            items[j] = items[j - 1]
            j -= 1
        items[j] = current
    return items

def kth_smallest(items, k):
    if not 0 <= k < len(items):
        raise IndexError(k)
    return insertion_sort(list(items))[k]
""",
    "def merge(left, right):": """\
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]
""",
    "def find_max(items):": """\
    if not items:
        return None
    best = 0
    for i in range(1, len(items)):
        if items[i] > items[best]:
            best = i
    return best

def selection_sort(items):
    rest = list(items)
    done = []
    while rest:
        done.append(rest.pop(find_max(rest)))
    done.reverse()
    return done
""",
    "def fibonacci(n):": """\
    previous, current = 0, 1
    for _ in range(n):
        previous, current = current, previous + current
    return previous

def is_fibonacci(number):
    n = 0
    while fibonacci(n) < number:
        n += 1
    return fibonacci(n) == number

def golden_ratio(n):
    return fibonacci(n + 1) / fibonacci(n)
""",
}

# A bare line has no newline at its end, and may stop in the middle of a statement.
_AFTER_LINE: Final[Mapping[str, str]] = {
    "def add(a, b):": '''
    """Add two numbers, or two sequences of numbers element by element."""
    if hasattr(a, "__len__"):
        if len(a) != len(b):
            raise ValueError("lengths differ: %d and %d" % (len(a), len(b)))
        return [add(x, y) for x, y in zip(a, b)]
    return a + b
''',
    "def main():": """
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("-q", "--quiet", action="store_true")
    args = parser.parse_args()
    total = 0
    for name in args.files:
        with open(name) as f:
            count = len(f.read().split())
        total += count
        if not args.quiet:
            print(name, count)
    print(total)
""",
    "class Stack:": '''
    """A last-in, first-out container with a limit."""

    def __init__(self, limit=None):
        self._items = []
        self._limit = limit

    def push(self, item):
        if self._limit is not None and len(self._items) >= self._limit:
            raise OverflowError("stack is full")
        self._items.append(item)

    def pop(self):
        return self._items.pop()
''',
    "import os": """
import shutil
import tempfile
from contextlib import contextmanager


@contextmanager
def temporary_folder():
    path = tempfile.mkdtemp()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def touch(folder, name):
    with open(os.path.join(folder, name), "a"):
        pass
""",
    "def __init__(self, name):": """
    self.name = name
    self.children = []
    self.parent = None

def add(self, child):
    if child.parent is not None:
        raise ValueError("node already has a parent")
    child.parent = self
    self.children.append(child)

def path(self):
    if self.parent is None:
        return self.name
    return self.parent.path() + "/" + self.name
""",
    "for i in range(10):": """
    square = i ** 2
    if square % 3 == 1:
        squares.append(square)
    else:
        skipped += 1

print(f"kept {len(squares)} of 10, skipped {skipped}")

names = ["zero", "one", "two", "three"]
for number, name in enumerate(names):
    print(f"{number:>3} {name}")
""",
    "def read_file(path):": '''
    """Return the decoded text of a file, or None if it does not exist."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8):]
    return data.decode("utf-8")
''',
    "if __name__ == '__main__':": """
    import sys
    if len(sys.argv) != 3:
        sys.exit('usage: %s INPUT OUTPUT' % sys.argv[0])
    source, target = sys.argv[1:]
    with open(source, 'rb') as f:
        image = load(f)
    try:
        save(image, target)
    except OSError as err:
        sys.exit('cannot write %s: %s' % (target, err))
""",
    "from collections import": """ OrderedDict, namedtuple
import csv

Entry = namedtuple('Entry', 'name size date')

def read_index(stream):
    index = OrderedDict()
    reader = csv.reader(stream, delimiter=';')
    next(reader)    # skip the header
    for name, size, date in reader:
        index[name] = Entry(name, int(size), date)
    return index
""",
    "class Node(object):": """
    __slots__ = ('key', 'left', 'right')

    def __init__(self, key):
        self.key = key
        self.left = self.right = None

    def insert(self, key):
        side = 'left' if key < self.key else 'right'
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Node(key))
        else:
            child.insert(key)
""",
    "def is_prime(n):": """
    if n < 2:
        return False
    if n % 2 == 0:
        return n == 2
    divisor = 3
    while divisor * divisor <= n:
        if n % divisor == 0:
            return False
        divisor += 2
    return True

def next_prime(n):
    candidate = n + 1
    while not is_prime(candidate):
        candidate += 1
    return candidate
""",
    "try:": """
    import cPickle as pickle
except ImportError:
    import pickle

try:
    from xml.etree import cElementTree as ElementTree
except ImportError:
    from xml.etree import ElementTree

PROTOCOL = 2

def dump(obj, filename):
    with open(filename, 'wb') as stream:
        pickle.dump(obj, stream, PROTOCOL)
""",
    "def parse_args(argv=None):": """
    parser = argparse.ArgumentParser(prog="backup")
    parser.add_argument("source", type=Path)
    parser.add_argument("--keep", type=int, default=5, metavar="N")
    parser.add_argument("--force", action="store_true")
    args = parser.parse_args(argv)
    if args.keep < 1:
        parser.error("--keep must be positive")
    return args
""",
    "    return self.": """_size

def clear(self):
    with self._lock:
        self._entries.clear()
        self._size = 0

def discard(self, key):
    # Unlike remove(), it is no error if the key is missing.
    with self._lock:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry.size

def __contains__(self, key):
    return key in self._entries
""",
    "with open(filename, 'r') as f:": """
    header = f.readline().rstrip().split(',')
    rows = []
    for line in f:
        fields = line.rstrip().split(',')
        if len(fields) != len(header):
            print('skipping malformed line:', line, file=sys.stderr)
            continue
        rows.append(dict(zip(header, fields)))
""",
    "def fibonacci(n):": '''
    """Return a list of the first n Fibonacci numbers.

    The list is empty if n is not positive.
    """
    numbers = []
    current, following = 0, 1
    while len(numbers) < n:
        numbers.append(current)
        current, following = following, current + following
    return numbers
''',
    "class MyError(Exception):": '''
    """Base class of the errors of this module."""

    def __init__(self, message, code=1):
        Exception.__init__(self, message)
        self.message = message
        self.code = code

    def __str__(self):
        return "[%d] %s" % (self.code, self.message)


class NotFound(MyError):
    """There is no record with that name."""
''',
    "import sys, os": """
import getopt

def usage(code):
    print(__doc__ % os.path.basename(sys.argv[0]))
    sys.exit(code)

def main():
    try:
        opts, args = getopt.getopt(sys.argv[1:], 'hv')
    except getopt.error as msg:
        print(msg)
        usage(2)
    if ('-h', '') in opts:
        usage(0)
""",
    "def test_empty(self):": """
    tree = self.factory()
    self.assertEqual(len(tree), 0)
    self.assertFalse(tree)
    self.assertEqual(list(tree), [])
    self.assertRaises(KeyError, tree.popitem)

def test_delete(self):
    tree = self.factory([(5, 'five'), (2, 'two')])
    del tree[5]
    self.assertNotIn(5, tree)
""",
    "while True:": """
    try:
        line = input('> ')
    except (EOFError, KeyboardInterrupt):
        break
    command, _, argument = line.strip().partition(' ')
    if not command:
        continue
    if command == 'quit':
        break
    handler = commands.get(command)
    if handler is None:
        print('unknown command:', command)
    else:
        handler(argument)

print('bye')
save_history(history_file)
""",
    "def get_value(self, key, default=None):": '''
    """Look a key up here, then in the parents; dots go down a level."""
    section = self
    for part in key.split("."):
        try:
            section = section.values[part]
        except KeyError:
            break
    else:
        return section
    if self.parent is None:
        return default
    return self.parent.get_value(key, default)

def set_value(self, key, value):
    self.values[key] = value
    self.changed = True
''',
    "result = []": """
for path in sorted(paths):
    stem, ext = os.path.splitext(path)
    if ext.lower() not in EXTENSIONS:
        continue
    info = os.stat(path)
    result.append((info.st_mtime, stem, info.st_size))

if not result:
    sys.exit('no images found')
""",
    "class Parser:": '''
    """Parse sums and products of whole numbers by recursive descent."""

    def __init__(self, text):
        self.tokens = re.findall(r"[0-9]+|[-+*/()]", text)
        self.position = 0

    def peek(self):
        if self.position < len(self.tokens):
            return self.tokens[self.position]
        return None
''',
    "def __repr__(self):": """
    args = ', '.join(map(repr, self._args))
    return '%s(%s)' % (type(self).__name__, args)

def __hash__(self):
    return hash((self.__class__, self._args))

def __iter__(self):
    return iter(self._args)

def replace(self, index, value):
    args = list(self._args)
    args[index] = value
    return type(self)(*args)
""",
    "# Return the number of": """ days in a month, counting leap years.
def days_in_month(year, month):
    if not 1 <= month <= 12:
        raise ValueError("month must be in 1..12")
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31
""",
    "raise ValueError(": """f"unknown unit {unit!r}; choose one of {', '.join(UNITS)}")


def format_bytes(count: int) -> str:
    size = float(count)
    for unit in UNITS:
        if size < 1024:
            break
        size /= 1024
    return f"{size:.1f} {unit}"
""",
    "def sort(items, reverse=False):": """
    if len(items) <= 1:
        return list(items)
    pivot = items[len(items) // 2]
    smaller = [x for x in items if x < pivot]
    equal = [x for x in items if x == pivot]
    larger = [x for x in items if x > pivot]
    result = sort(smaller) + equal + sort(larger)
    if reverse:
        result.reverse()
    return result
""",
    "from typing import": """ Callable, Generic, Optional, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value: Optional[T] = None

    def get(self) -> T:
        if self._value is None:
            self._value = self._make()
        return self._value
""",
    "class TestCase(unittest.TestCase):": """
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as f:
            f.write(text)
        return path
""",
    "def connect(self, host, port):": """
    if self.sock is not None:
        raise RuntimeError('already connected to %s' % self.host)
    self.host, self.port = host, port
    self.sock = socket.create_connection((host, port))
    self.file = self.sock.makefile('rb')
    code, message = self.getreply()
    if code != 220:
        self.close()
        raise ConnectionError(code, message)
    return message
""",
    "assert isinstance(": """value, (int, float)), type(value)
if value < 0:
    sign, value = '-', -value
else:
    sign = ''
whole, fraction = divmod(round(value * 100), 100)
digits = str(whole)
text = '%s%s.%02d' % (sign, digits, fraction)
print(text.rjust(width))
""",
    "def to_string(obj):": """
    if obj is None:
        return ''
    if isinstance(obj, bytes):
        return obj.decode('utf-8', 'replace')
    if isinstance(obj, (list, tuple)):
        return ', '.join(to_string(item) for item in obj)
    if isinstance(obj, datetime.date):
        return obj.isoformat()
    # Everything else knows best how to show itself.
    return str(obj)
""",
    "lines = text.split(": """"\\n")
margin = None
for line in lines[1:]:
    content = line.lstrip()
    if not content:
        continue
    indent = len(line) - len(content)
    margin = indent if margin is None else min(margin, indent)

trimmed = [lines[0].strip()]
trimmed += [line[margin:].rstrip() for line in lines[1:]]
""",
    "def __eq__(self, other):": """
    if not isinstance(other, Version):
        return NotImplemented
    return self.numbers == other.numbers and self.tag == other.tag

def __lt__(self, other):
    # A release comes after its candidates, which have a tag.
    mine = (self.numbers, self.tag is None, self.tag or "")
    return mine < (other.numbers, other.tag is None, other.tag or "")
""",
    "@property": '''
def name(self) -> str:
    """The name that the user gave, or else the last part of the path."""
    return self._name or self.path.stem

@name.setter
def name(self, value: str) -> None:
    if not value.isidentifier():
        raise ValueError(f"{value!r} is not a valid name")
    self._name = value
''',
    "def close(self):": '''
    """Flush what is left and close the file; a second call does nothing."""
    if self.closed:
        return
    try:
        self.flush()
    finally:
        self.fp.close()
        self.closed = True

def flush(self):
    if self._buffer:
        self.fp.write(b"".join(self._buffer))
        self._buffer.clear()
    self.fp.flush()
''',
    "x = [1, 2, 3]": """
y = [4.1, 5.9, 8.2]

n = len(x)
mean_x = sum(x) / n
mean_y = sum(y) / n
cov = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
print('covariance:', cov / (n - 1))
""",
    "def log(message, level='info'):": """
    stamp = time.strftime('%Y-%m-%d %H:%M:%S')
    line = '{} [{}] {}'.format(stamp, level.upper(), message)
    print(line, file=sys.stderr if level == 'error' else sys.stdout)
    if log_file is not None:
        log_file.write(line + os.linesep)
        log_file.flush()
""",
    "class Queue:": '''
    """Hand items from one thread to another, in order."""

    def __init__(self, maxsize: int = 0) -> None:
        self._items: deque[object] = deque()
        self._maxsize = maxsize
        self._changed = threading.Condition()

    def put(self, item: object) -> None:
        with self._changed:
            while self.full():
                self._changed.wait()
            self._items.append(item)
            self._changed.notify()
''',
    "def reverse(s):": """
    return s[::-1]

def reverse_words(s):
    return ' '.join(reversed(s.split()))

def caesar(s, shift):
    out = []
    for ch in s:
        if ch.isalpha():
            code = ord(ch.lower()) - ord('a')
            ch = chr((code + shift) % 26 + ord('a'))
        out.append(ch)
    return ''.join(out)
""",
    "print(": """"Guess a number between 1 and 100.")
secret = random.randint(1, 100)
guess = None
while guess != secret:
    try:
        guess = int(input("Your guess: "))
    except ValueError:
        continue
    if guess < secret:
        print("Too low.")
    elif guess > secret:
        print("Too high.")
""",
    "def factorial(n):": """
    if n == 0:
        return 1
    return n * factorial(n - 1)

def binomial(n, k):
    k = min(k, n - k)
    result = 1
    for i in range(1, k + 1):
        result = result * (n - k + i) // i
    return result

def pascal(rows):
    return [[binomial(n, k) for k in range(n + 1)] for n in range(rows)]
""",
    "async def fetch(url):": """
    response = await client.get(url, timeout=10)
    if response.status != 200:
        raise OSError(response.reason)
    return await response.text()

async def fetch_all(urls):
    pages = await asyncio.gather(*map(fetch, urls))
    return dict(zip(urls, pages))
""",
    "def split_path(path):": '''
    """Split a path into a list of its parts, the root first.

    Empty parts and single dots are dropped; two dots go up one level.
    """
    parts = []
    for part in path.replace("\\\\", "/").split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts
''',
    "elif name == ": """'content-length':
    try:
        self.length = int(value)
    except ValueError:
        self.length = None
    else:
        # Ignore nonsense such as a negative length.
        if self.length < 0:
            self.length = None
elif name == 'connection':
    self.will_close = value.lower() == 'close'
else:
    self.headers.append((name, value))
""",
    "def __len__(self):": """
    return sum(len(block) for block in self.blocks)

def __getitem__(self, index):
    if index < 0:
        index += len(self)
    for block in self.blocks:
        if index < len(block):
            return block[index]
        index -= len(block)
    raise IndexError('index out of range')
""",
    "self.assertEqual(": """calc.evaluate('2 + 3 * 4'), 14)
self.assertAlmostEqual(calc.evaluate('1 / 3'), 0.3333, places=4)
with self.assertRaises(ZeroDivisionError) as caught:
    calc.evaluate('7 / 0')
self.assertIn('7 / 0', str(caught.exception))
""",
    "return None": """


def find_executable(name, path=None):
    if path is None:
        path = os.environ.get('PATH', os.defpath)
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None
""",
}

# A prompt without a continuation is a KeyError here.
CONTINUATIONS: Final[Mapping[str, str]] = {prompt: _AFTER_HEAD[prompt.splitlines()[-1]] for prompt in FEW_SHOT_PROMPTS} | {
    prompt: _AFTER_LINE[prompt] for prompt in BARE_PROMPTS
}
assert len(CONTINUATIONS) == len(_AFTER_HEAD) + len(_AFTER_LINE), "a continuation without a prompt"
