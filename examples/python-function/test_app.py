"""The function called here: decorated, it stays the function it is."""

import unittest

from app import Word, most_frequent


class MostFrequent(unittest.TestCase):
    def test_the_most_frequent_words_come_first(self) -> None:
        found = most_frequent("A rose is a rose is a rose.", count=2)
        self.assertEqual(found, [Word("a", 3), Word("rose", 3)])

    def test_a_text_without_words_has_none(self) -> None:
        self.assertEqual(most_frequent("..."), [])


if __name__ == "__main__":
    unittest.main()
