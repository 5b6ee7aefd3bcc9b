"""Every kind of constructor against PyTorch, bit for bit."""

import os
import re
import unittest

from .constructors import CONSTRUCTORS
from .proof import ROOT, prove, record


class Constructors(unittest.TestCase):
    def test_bits(self):
        for name, construct in CONSTRUCTORS.items():
            with self.subTest(name):
                prove(construct)

    def test_operators_are_those_of_the_reader(self):
        with open(os.path.join(ROOT, "crates/init-plan/src/operator.rs")) as file:
            text = file.read()
        text = text[text.index("const OPERATORS") : text.index("impl Operator")]
        self.assertEqual(record.OPERATORS, set(re.findall(r'"(\w+)"', text)))


if __name__ == "__main__":
    unittest.main()
