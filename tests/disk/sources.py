# SPDX-License-Identifier: Apache-2.0
"""Raw files to make disks of."""

import random

from command import MIB, Case


def contents(size, seed):
    rng = random.Random(seed)
    data = bytearray(size)
    for _ in range(40):
        start = rng.randrange(size)
        length = min(rng.randrange(1, 200000), size - start)
        data[start:start + length] = rng.randbytes(length)
    return bytes(data)


class Tools(Case):
    def source(self, size=37 * MIB, seed=1, name="source.raw"):
        with open(name, "wb") as file:
            file.write(contents(size, seed))
        return name
