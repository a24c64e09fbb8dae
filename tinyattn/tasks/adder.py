"""adder: two numbers of n digits, and their sum, digit by digit from the last to the first: 85 + 50 → 531.

Project "adder" of minGPT (github.com/karpathy/minGPT). The sum is written the way it is worked out by hand: each digit
then needs only those above it and the carry, and never one that is still to come. Numbers have zeros in front:

    8 5 5 0 → 5 3 1        85 + 50 = 135

A tenth of all questions, by a random order that is always the same, is for the test and a twentieth for validation;
with two digits these are 1,000 and 500 of 10,000.
"""

import re

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.questions import QuestionTask

MOST_DIGITS = 3
"""All questions are listed; with four digits these were a hundred million."""


class Adder(QuestionTask):
    """The task. digits: of each number, 1 to 3. Raises DataError for others."""

    name = "adder"
    title = "the sum of two numbers, its last digit first"
    kinds_of = "carries"

    def __init__(self, digits: int = 2):
        self.digits = check_positive(self.name, "digits", digits)
        if digits > MOST_DIGITS:
            raise DataError(f"[{self.name}] digits must be at most {MOST_DIGITS}, but got {digits}.")
        self.example = f"{'8' * digits}+{'5' * digits}"
        numbers = np.arange(100**digits)
        left, right = np.divmod(numbers, 10**digits)
        sums = self._digits(left + right, digits + 1)[:, ::-1]
        order, count = Stream("adder", 0).permutation(len(numbers)), len(numbers)
        test, validation, train = np.split(order, [count // 10, count // 10 + count // 20])
        super().__init__(
            self._digits(numbers, 2 * digits), sums, {"train": train, "validation": validation, "test": test}
        )

    @staticmethod
    def _digits(numbers: np.ndarray, count: int) -> np.ndarray:
        """The last `count` digits of numbers (n,), the highest first: (n, count)."""
        return numbers[:, None] // 10 ** np.arange(count)[::-1] % 10

    def parse(self, text: str) -> np.ndarray | None:
        """Two numbers and a plus between them."""
        found = re.fullmatch(r"\s*([0-9]+)\s*\+\s*([0-9]+)\s*", text)
        if not found or any(len(number) > self.digits for number in found.groups()):
            return None
        return np.array([*map(int, "".join(number.zfill(self.digits) for number in found.groups()))])

    def write_question(self, question: np.ndarray) -> str:
        """As a sum."""
        return f"{self.decode(question[: self.digits])}+{self.decode(question[self.digits :])}"

    def write_answer(self, answer: np.ndarray) -> str:
        """The highest digit first, as numbers are written."""
        return self.decode(answer[::-1])

    def kinds(self, rows: np.ndarray) -> list[str]:
        """In how many places there is something to carry."""
        # A carry takes ten from one place and adds one to the next: nine less in the sum of all digits.
        terms, sums = rows[:, : 2 * self.digits].sum(axis=1), rows[:, 2 * self.digits :].sum(axis=1)
        return [str(carries) for carries in (terms - sums) // 9]
