# SPDX-License-Identifier: Apache-2.0
"""The hypervisor's statistics, as the root's kernel shows them in its debug file system."""

import re

from .errors import LabError

HOME = "/sys/kernel/debug/mshv"


def read(host, what="."):
    """The counters of one object by their names: "." for the hypervisor, "lp/0",
    "partition/1", "partition/1/vp/0"."""
    file = f"{HOME}/{what}/stats"
    text = host.run(["cat", file], check=True).output
    counters = {name: int(value) for name, value in
                re.findall(r"^(\w+)\s*: (\d+)$", text, re.MULTILINE)}
    if not counters:
        raise LabError(f"{file} holds {text[:200]!r}; expected lines of a name and a number")
    return counters


def children(host):
    """The ids of all partitions but the root."""
    names = host.run(["ls", f"{HOME}/partition"], check=True).output.split()
    if "1" not in names:
        raise LabError(f"{HOME}/partition holds {names}; expected the root's, which is 1")
    return [int(name) for name in names if name != "1"]


# Each #VMEXIT of a virtual processor is counted under one of these.
EXITS = ("VpHypercallsCount", "VpIoInstructionsCount", "VpHltInstructionsCount",
         "VpCpuidInstructionsCount", "VpMsrAccessesCount", "VpOtherInterceptsCount",
         "VpExternalInterruptsCount", "VpPendingInterruptsCount",
         "VpNestedPageFaultInterceptsCount")


def world_switches(host, partition):
    """How often the partition's virtual processors have left their guest for the hypervisor."""
    home = f"{HOME}/partition/{partition}/vp"
    numbers = host.run(["ls", home], check=True).output.split()
    return sum(read(host, f"partition/{partition}/vp/{number}")[name]
               for number in numbers for name in EXITS)


def balance(host):
    """What there is of partitions, and of the pages that are deposited for them: in all pools
    together and in the root's own. A page that is lost in a pool is one less that is free; one that
    a dead child keeps is one more in all."""
    machine = read(host)
    return {"partitions": machine["HvPartitions"],
            "virtual processors": machine["HvVirtualProcessors"],
            "pages": machine["HvTotalPages"],
            "free pages": machine["HvNonEssentialPagesForDump"],
            "the root's pages": read(host, "partition/1")["PtDepositedPages"]}
