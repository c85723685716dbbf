"""The twenty shipped tasks as texts: a program (signature, docstring of one line, body) and asserts that tell wrong ones.

A test changes each body in every way it can think of, and holds the asserts to notice. Changing any of them changes what pass
rates mean: scores before and after are then not to be compared.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Written(NamedTuple):
    program: str
    asserts: str


TWENTY: Final = (
    Written(
        '''def add(a, b):
    """Return the sum of a and b."""
    return a + b
''',
        """
assert add(2, 3) == 5
assert add(-4, 4) == 0
assert add(0, 7) == 7
assert add(10, -3) == 7
assert add(1.5, 2.25) == 3.75
""",
    ),
    Written(
        '''def multiply(a, b):
    """Return the product of a and b."""
    return a * b
''',
        """
assert multiply(3, 4) == 12
assert multiply(5, 0) == 0
assert multiply(-2, 6) == -12
assert multiply(-3, -3) == 9
assert multiply(0.5, 8) == 4
""",
    ),
    Written(
        '''def max_value(a, b):
    """Return the larger of a and b."""
    if a > b:
        return a
    return b
''',
        """
assert max_value(3, 7) == 7
assert max_value(9, 2) == 9
assert max_value(-5, -1) == -1
assert max_value(-2, -8) == -2
assert max_value(4, 4) == 4
assert max_value(0, -1) == 0
""",
    ),
    Written(
        '''def abs_value(n):
    """Return the absolute value of n."""
    if n < 0:
        return -n
    return n
''',
        """
assert abs_value(5) == 5
assert abs_value(-5) == 5
assert abs_value(0) == 0
assert abs_value(-1) == 1
assert abs_value(1) == 1
assert abs_value(-2.5) == 2.5
assert abs_value(0.5) == 0.5
""",
    ),
    Written(
        '''def is_even(n):
    """Return True if n is even, and False otherwise."""
    return n % 2 == 0
''',
        """
assert is_even(4) == True
assert is_even(7) == False
assert is_even(0) == True
assert is_even(1) == False
assert is_even(-2) == True
assert is_even(-3) == False
assert is_even(6) == True
assert is_even(9) == False
""",
    ),
    Written(
        '''def is_prime(n):
    """Return True if n is a prime number, and False otherwise."""
    if n < 2:
        return False
    for divisor in range(2, n):
        if n % divisor == 0:
            return False
    return True
''',
        """
assert [n for n in range(-3, 60) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]
assert is_prime(97) == True
assert is_prime(91) == False
assert is_prime(1) == False
""",
    ),
    Written(
        '''def factorial(n):
    """Return the factorial of n."""
    if n <= 1:
        return 1
    return n * factorial(n - 1)
''',
        """
assert factorial(0) == 1
assert factorial(1) == 1
assert factorial(2) == 2
assert factorial(3) == 6
assert factorial(5) == 120
assert factorial(8) == 40320
""",
    ),
    Written(
        '''def fibonacci(n):
    """Return the n-th Fibonacci number, where the first two are fibonacci(0) = 0 and fibonacci(1) = 1."""
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
''',
        """
assert [fibonacci(n) for n in range(11)] == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55]
assert fibonacci(20) == 6765
""",
    ),
    Written(
        '''def sum_list(numbers):
    """Return the sum of all numbers in the list."""
    total = 0
    for number in numbers:
        total += number
    return total
''',
        """
assert sum_list([1, 2, 3, 4]) == 10
assert sum_list([]) == 0
assert sum_list([7]) == 7
assert sum_list([-1, 1, -2]) == -2
assert sum_list([5, 5, 0, 5]) == 15
""",
    ),
    Written(
        '''def reverse_list(items):
    """Return the items of the list in reverse order, as a list."""
    return items[::-1]
''',
        """
assert reverse_list([1, 2, 3]) == [3, 2, 1]
assert reverse_list([]) == []
assert reverse_list(["a"]) == ["a"]
assert reverse_list([3, 1, 2, 2]) == [2, 2, 1, 3]
""",
    ),
    Written(
        '''def find_max(numbers):
    """Return the largest number in the list."""
    largest = numbers[0]
    for number in numbers:
        if number > largest:
            largest = number
    return largest
''',
        """
assert find_max([1, 5, 3]) == 5
assert find_max([9, 2, 7]) == 9
assert find_max([2, 4, 8]) == 8
assert find_max([-7, -3, -9]) == -3
assert find_max([6]) == 6
assert find_max([0, -1]) == 0
""",
    ),
    Written(
        '''def count_vowels(text):
    """Return how many letters of the text are vowels (a, e, i, o, u), in upper or lower case."""
    count = 0
    for letter in text.lower():
        if letter in "aeiou":
            count += 1
    return count
''',
        """
assert count_vowels("hello") == 2
assert count_vowels("") == 0
assert count_vowels("rhythm") == 0
assert count_vowels("AEIOU") == 5
assert count_vowels("aeiou") == 5
assert count_vowels("Queueing") == 5
assert count_vowels("b a, n!a") == 2
""",
    ),
    Written(
        '''def remove_duplicates(items):
    """Return the items of the list without duplicates, in the order in which they first appear."""
    result = []
    for item in items:
        if item not in result:
            result.append(item)
    return result
''',
        """
assert remove_duplicates([1, 2, 2, 3, 1]) == [1, 2, 3]
assert remove_duplicates([]) == []
assert remove_duplicates([5, 5, 5]) == [5]
assert remove_duplicates([3, 1, 2, 3, 2]) == [3, 1, 2]
assert remove_duplicates(["b", "a", "b"]) == ["b", "a"]
""",
    ),
    Written(
        '''def is_palindrome(text):
    """Return True if the text reads the same backwards, and False otherwise."""
    return text == text[::-1]
''',
        """
assert is_palindrome("level") == True
assert is_palindrome("abba") == True
assert is_palindrome("abca") == False
assert is_palindrome("ab") == False
assert is_palindrome("") == True
assert is_palindrome("x") == True
assert is_palindrome("abcdba") == False
""",
    ),
    Written(
        '''def gcd(a, b):
    """Return the greatest common divisor of a and b."""
    while b:
        a, b = b, a % b
    return a
''',
        """
assert gcd(12, 18) == 6
assert gcd(18, 12) == 6
assert gcd(7, 13) == 1
assert gcd(10, 5) == 5
assert gcd(9, 0) == 9
assert gcd(0, 4) == 4
assert gcd(100, 75) == 25
assert gcd(6, 6) == 6
""",
    ),
    Written(
        '''def linear_search(items, target):
    """Return the index of the first item that equals the target, or -1 if there is none."""
    for index, item in enumerate(items):
        if item == target:
            return index
    return -1
''',
        """
assert linear_search([4, 2, 9], 2) == 1
assert linear_search([4, 2, 9], 4) == 0
assert linear_search([4, 2, 9], 9) == 2
assert linear_search([4, 2, 9], 7) == -1
assert linear_search([], 1) == -1
assert linear_search([5, 1, 5], 5) == 0
assert linear_search(["a", "b", "b"], "b") == 1
""",
    ),
    Written(
        '''def bubble_sort(items):
    """Return the items sorted in ascending order, as a list, using bubble sort."""
    items = list(items)
    for end in range(len(items) - 1, 0, -1):
        for index in range(end):
            if items[index] > items[index + 1]:
                items[index], items[index + 1] = items[index + 1], items[index]
    return items
''',
        """
assert bubble_sort([3, 1, 2]) == [1, 2, 3]
assert bubble_sort([]) == []
assert bubble_sort([1]) == [1]
assert bubble_sort([5, 4, 3, 2, 1]) == [1, 2, 3, 4, 5]
assert bubble_sort([2, 3, 2, 1, 3]) == [1, 2, 2, 3, 3]
assert bubble_sort([0, -5, 7, -5]) == [-5, -5, 0, 7]
assert bubble_sort([2, 1]) == [1, 2]
""",
    ),
    Written(
        '''def flatten_list(lists):
    """Return one list with the items of all the lists, in their order."""
    result = []
    for items in lists:
        for item in items:
            result.append(item)
    return result
''',
        """
assert flatten_list([[1, 2], [3], [4, 5]]) == [1, 2, 3, 4, 5]
assert flatten_list([]) == []
assert flatten_list([[], [7], []]) == [7]
assert flatten_list([[3, 1], [3, 1]]) == [3, 1, 3, 1]
""",
    ),
    Written(
        '''def string_reverse(text):
    """Return the text with its characters in reverse order."""
    return text[::-1]
''',
        """
assert string_reverse("hello") == "olleh"
assert string_reverse("") == ""
assert string_reverse("a") == "a"
assert string_reverse("ab cd") == "dc ba"
assert string_reverse("aab") == "baa"
""",
    ),
    Written(
        '''def power(base, exponent):
    """Return base raised to the power of exponent, a whole number that is not negative."""
    result = 1
    for _ in range(exponent):
        result *= base
    return result
''',
        """
assert power(2, 3) == 8
assert power(3, 2) == 9
assert power(5, 0) == 1
assert power(7, 1) == 7
assert power(-2, 3) == -8
assert power(0, 4) == 0
assert power(10, 5) == 100000
""",
    ),
)
