# SPDX-License-Identifier: Apache-2.0
"""VMBus and the integration components, by the drivers that Debian's stock kernels bring."""

import contextlib
import json
import time
import unittest

from lab import Host, statistics
from lab.child import worker
from root import recipe

CROFT = "/build/cli/croft"


class Child:
    """A child partition in a host, and its control socket."""

    def __init__(self, host, artifacts, line, processors=2, kernel=None, modules="hv_utils",
                 name="guest"):
        self.host = host
        self.name = name
        self.worker = host.start_command([
            "sh", "-c", 'mkdir -p /run/croft/vm && exec "$0" "$@"',
            *worker(artifacts, processors, kernel=kernel,
                    line=f"loglevel=7 croft.modules={modules} {line}",
                    options=("--name", name, "--control", f"/run/croft/vm/{name}.sock"))])

    def croft(self, *words, status=0):
        result = self.host.run([CROFT, "vm", *words], timeout=120)
        assert result.status == status, f"{words}: {result}"
        return result

    def info(self):
        return json.loads(self.croft("info", self.name, "--json").output)

    def wait_until(self, what, timeout=120):
        """Asks until `what(info)` is true: the guest says something when it gets to it."""
        end = time.monotonic() + timeout
        while not what(self.info()):
            assert time.monotonic() < end, self.info()

    def wait_for_drivers(self):
        self.worker.wait_for("child: module hv_utils 0", timeout=120)
        self.wait_until(lambda info: info["heartbeat"] == "ok")


class VmbusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    @contextlib.contextmanager
    def _host(self, name):
        with Host(name=name) as host:
            yield host
            host.power_off()

    def test_kernels_connect(self):
        """Each with its newest version of the protocol, on whatever processors it has."""
        with self._host("vmbus-connect") as host:
            for kernel, processors, version in (
                    (self.artifacts.child_kernel, 1, "5.3"),
                    (self.artifacts.child_cloud_kernel, 4, "5.3"),
                    (self.artifacts.child_newest_kernel, 2, "6.0")):
                with self.subTest(kernel=kernel.name, processors=processors):
                    child = Child(host, self.artifacts, "croft.do=poweroff", processors, kernel)
                    result = child.worker.wait(180)
                    self.assertEqual(result.status, 0, result.output)
                    self.assertIn("child: module hv_utils 0", result.output)
                    self.assertIn(f"hv_vmbus: Vmbus version:{version}", result.output)
                    for words in ("Heartbeat IC version 3.0", "Shutdown IC version 3.2",
                                  "TimeSync IC version 4.0"):
                        self.assertIn(words, result.output)
                    self.assertEqual(result.error, "")

    def test_requests(self):
        """The guest is asked to reboot, then to shut down, and does."""
        with self._host("vmbus-requests") as host:
            child = Child(host, self.artifacts, "croft.do=wait")
            child.wait_for_drivers()
            self.assertIn(child.name, child.croft("list").output)
            child.croft("shutdown", child.name, "--reboot")
            child.worker.wait_for(r"(?s)Restart request received.*child: module hv_utils 0",
                                  timeout=180)
            child.wait_until(lambda info: info["heartbeat"] == "ok")
            answer = json.loads(child.croft("shutdown", child.name, "--wait", "100",
                                            "--json").output)
            self.assertEqual(answer["by"], "integration services")
            result = child.worker.wait(60)
            self.assertEqual(result.status, 0, result.output)
            self.assertIn("Shutdown request received", result.output)
            child.croft("info", child.name, status=2)
            self.assertEqual(json.loads(child.croft("list", "--json").output), {"vms": []})

    def test_power_button_without_drivers(self):
        with self._host("vmbus-button") as host:
            child = Child(host, self.artifacts, "croft.do=wait", modules="")
            child.worker.wait_for("child: wait", timeout=120)
            self.assertEqual(child.info()["heartbeat"], "no contact")
            child.croft("shutdown", child.name, "--reboot", status=2)
            answer = json.loads(child.croft("shutdown", child.name, "--json").output)
            self.assertEqual(answer["by"], "power button")
            child.croft("kill", child.name)
            self.assertEqual(child.worker.wait(60).status, 0)

    def _switches_at_rest(self, child, number):
        """World switches of the guest's in a second of its own time in which it does nothing."""
        partition, = statistics.children(child.host)
        begin = statistics.world_switches(child.host, partition)
        child.worker.write(f"sleep 1; echo rested $((100 + {number}))\n".encode())
        child.worker.wait_for(f"rested {100 + number}")
        return statistics.world_switches(child.host, partition) - begin

    def test_time_after_a_pause(self):
        """The guest's clocks stand while it is paused; then it is told the time. Its clock is read
        between two readings of the root's."""
        with self._host("vmbus-time") as host:
            child = Child(host, self.artifacts, "croft.do=shell")
            child.wait_for_drivers()
            child.worker.wait_for("child: shell", timeout=60)

            root_clock = ["bash", "-c", "echo $EPOCHREALTIME"]

            def clock(number):
                before = float(host.run(root_clock).output)
                child.worker.write(f"adjtimex | grep -F time.tv; echo read {number}\n".encode())
                match = child.worker.wait_for(rf"(?s)time\.tv_sec:\s+(\d+)\s+time\.tv_usec:\s+(\d+)"
                                              rf"[^:]*read {number}\b")
                after = float(host.run(root_clock).output)
                return before, int(match[1]) + int(match[2]) / 1e6, after

            at_rest = self._switches_at_rest(child, 1)
            child.croft("pause", child.name)
            self.assertEqual(child.info()["state"], "paused")
            time.sleep(30)  # the pause itself
            child.croft("resume", child.name)
            child.wait_until(lambda info: info["heartbeat"] == "ok")
            before, found, after = clock(1)
            self.assertGreater(found, before - 0.05)
            self.assertLess(found, after + 0.05)
            # Its timers sleep until they are due, as before.
            self.assertLess(self._switches_at_rest(child, 2), 3 * at_rest)
            child.worker.write(b"exit\n")
            self.assertEqual(child.worker.wait(60).status, 0)


if __name__ == "__main__":
    unittest.main()
