# SPDX-License-Identifier: Apache-2.0
"""Brings a whole host up under an emulator and runs commands in its root partition.

    from lab import Host

    with Host(processors=2, memory="4G") as host:
        result = host.run(["uname", "-r"])
        assert result.status == 0, result
        print(result.output)
"""

from .command import Command, Result
from .errors import CommandTimeout, LabError
from .host import Host

__all__ = ["Command", "CommandTimeout", "Host", "LabError", "Result"]
