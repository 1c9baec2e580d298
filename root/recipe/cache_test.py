# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import tempfile
import threading
import unittest

from root.recipe import cache
from root.recipe.errors import RecipeError


class CacheTest(unittest.TestCase):
    def setUp(self):
        self._home = tempfile.TemporaryDirectory()
        self._before = os.environ.get("CROFT_CACHE")
        os.environ["CROFT_CACHE"] = self._home.name

    def tearDown(self):
        if self._before is None:
            del os.environ["CROFT_CACHE"]
        else:
            os.environ["CROFT_CACHE"] = self._before
        self._home.cleanup()

    def test_key_depends_on_content_and_not_on_order(self):
        self.assertEqual(cache.key_of({"a": 1, "b": 2}), cache.key_of({"b": 2, "a": 1}))
        self.assertNotEqual(cache.key_of({"a": 1, "b": 2}), cache.key_of({"a": 1, "b": 3}))
        self.assertNotEqual(cache.key_of({"a": 1}), cache.key_of({"a": "1"}))

    def test_same_inputs_are_made_once(self):
        made = []

        def make(product):
            made.append(product)
            (product / "file").write_text("content")

        first = cache.obtain("thing", {"version": 1}, make)
        second = cache.obtain("thing", {"version": 1}, make)
        self.assertEqual(first, second)
        self.assertEqual(len(made), 1)
        self.assertEqual((first / "file").read_text(), "content")

    def test_other_inputs_are_made_anew(self):
        first = cache.obtain("thing", {"version": 1}, lambda product: None)
        second = cache.obtain("thing", {"version": 2}, lambda product: None)
        self.assertNotEqual(first, second)

    def test_a_failed_build_leaves_nothing(self):
        def make(product):
            (product / "half").write_text("")
            raise RecipeError("it broke")

        with self.assertRaises(RecipeError):
            cache.obtain("thing", {}, make)
        self.assertIsNone(cache.find("thing", {}))
        self.assertEqual(list((pathlib.Path(self._home.name) / "thing").iterdir()), [])

    def test_a_second_maker_waits_for_the_first(self):
        begun = threading.Event()
        proceed = threading.Event()
        made = []

        def slow(product):
            made.append(1)
            begun.set()
            proceed.wait(10)

        first = threading.Thread(target=lambda: cache.obtain("thing", {}, slow))
        first.start()
        self.assertTrue(begun.wait(10))
        second = threading.Thread(target=lambda: cache.obtain("thing", {}, slow))
        second.start()
        proceed.set()
        first.join(10)
        second.join(10)
        self.assertEqual(made, [1])

    def test_old_products_go(self):
        for version in range(cache.KEPT + 3):
            cache.obtain("thing", {"version": version}, lambda product: None)
        self.assertEqual(len(list((pathlib.Path(self._home.name) / "thing").iterdir())),
                         cache.KEPT)
        self.assertIsNotNone(cache.find("thing", {"version": cache.KEPT + 2}))


if __name__ == "__main__":
    unittest.main()
