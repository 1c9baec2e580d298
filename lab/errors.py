# SPDX-License-Identifier: Apache-2.0
"""Errors of the lab."""


class LabError(Exception):
    """What was found, what was expected, what to do."""


class CommandTimeout(LabError):
    """A command took longer than it was given; it has been killed. `output` and `error` hold what
    it had said."""

    def __init__(self, message, output, error):
        super().__init__(message)
        self.output = output
        self.error = error
