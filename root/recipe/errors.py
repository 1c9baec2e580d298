# SPDX-License-Identifier: Apache-2.0
"""The one kind of error that a recipe raises on purpose."""


class RecipeError(Exception):
    """One line: what was found, what was expected, what to do."""
