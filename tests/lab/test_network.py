# SPDX-License-Identifier: Apache-2.0
"""Network of a child partition, by the hv_netvsc of Debian's stock kernel, on a TAP device."""

import contextlib
import unittest

from lab import Host
from root import recipe

HOST = "192.168.77.1"
GUEST = "192.168.77.2"
MEGABYTES = 16


class Guest:
    """A child with a NIC, and a shell in it."""

    def __init__(self, host, artifacts, *options, processors=2, nic="tap=tap0"):
        cache = recipe.cache.directory()
        self._number = 0
        self.worker = host.start_command([
            "/build/worker/croft-worker",
            "--kernel", f"/cache/{artifacts.child_kernel.relative_to(cache)}",
            "--initrd", f"/cache/{artifacts.child_userland.relative_to(cache)}",
            "--cmdline", "console=ttyS0 loglevel=4 croft.modules=hv_netvsc croft.rounds=1 "
                         "croft.do=shell",
            "--memory", "256M", "--processors", str(processors), "--nic", nic, *options])
        self.wait_for_shell()

    def wait_for_shell(self, times=1):
        pattern = "(?s)" + ".*".join(["child: shell"] * times)
        self.worker.wait_for(pattern, timeout=180)

    def run(self, command, status=0, timeout=120):
        """What a command in the guest says."""
        self._number += 1
        # The shell echoes the line: the marks that are looked for are not in it as such.
        self.worker.write(f"echo \"[{self._number}:\"; {command}; "
                          f"echo \"<$?:\"{self._number}'>'\n".encode())
        match = self.worker.wait_for(rf"(?s)\n\[{self._number}:\r?\n(.*?)<(\d+):{self._number}>",
                                     timeout=timeout)
        if int(match[2]) != status:
            raise AssertionError(f"{command}: ended with {int(match[2])}: {match[1].decode()}")
        return match[1].decode().replace("\r", "")

    def bring_up(self, mtu=None):
        if mtu:
            self.run(f"ip link set eth0 mtu {mtu}")
        self.run(f"ip address add {GUEST}/24 dev eth0 2>/dev/null; ip link set eth0 up")
        self.run("until grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")

    def end(self):
        self.worker.write(b"exit\n")
        return self.worker.wait(60)


class NetworkTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    @contextlib.contextmanager
    def _host(self, name):
        with Host(name=name) as host:
            yield host
            host.power_off()

    def _address_host(self, host):
        host.run(f"ip address add {HOST}/24 dev tap0", check=True)

    def _ping(self, host, guest, size=56):
        """Both ways."""
        guest.run(f"ping -c 3 -W 10 -s {size} {HOST}")
        host.run(f"ping -c 3 -W 10 -s {size} {GUEST}", check=True)

    def _transfer(self, host, guest, megabytes=MEGABYTES):
        """Both ways by TCP; what arrives is what was sent."""
        make = f"seq 1 100000000 | head -c {megabytes << 20}"
        sent = host.run(f"{make} | sha256sum", timeout=120).output.split()[0]
        receiver = host.start_command("busybox nc -l -p 5001 | sha256sum")
        host.run("until busybox netstat -ltn | grep -q :5001; do busybox usleep 20000; done",
                 timeout=30, check=True)
        guest.run(f"{make} | nc -w 20 {HOST} 5001", timeout=180)
        self.assertEqual(receiver.wait(180).output.split()[0], sent)
        guest.run("nc -l -p 5002 >/tmp/received & "
                  "until netstat -ltn | grep -q :5002; do usleep 20000; done")
        host.run(f"{make} | busybox nc -w 20 {GUEST} 5002", timeout=180, check=True)
        found = guest.run("wait; sha256sum /tmp/received; rm /tmp/received", timeout=120)
        self.assertIn(sent, found)

    def test_ping_and_tcp(self):
        """Datagrams and streams, and their checksums, both ways."""
        with self._host("network-tcp") as host:
            guest = Guest(host, self.artifacts, processors=1)
            self._address_host(host)
            guest.bring_up()
            self.assertRegex(guest.run("cat /sys/class/net/eth0/address"), "00:15:5d:")
            self._ping(host, guest)
            self._transfer(host, guest)
            errors = guest.run("cat /proc/net/snmp | grep -E '^(Ip|Tcp|Udp|Icmp):'")
            for kind in ("Tcp", "Udp"):
                names, values = [line.split()[1:] for line in errors.splitlines()
                                 if line.startswith(f"{kind}:")][:2]
                self.assertEqual(dict(zip(names, values))["InCsumErrors"], "0")
            result = guest.end()
            self.assertEqual((result.status, result.error), (0, ""))


if __name__ == "__main__":
    unittest.main()
