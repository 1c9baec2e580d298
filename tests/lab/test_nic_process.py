# SPDX-License-Identifier: Apache-2.0
"""A network adapter whose provider is a process of its own, with a stock Debian as the guest: what
one in the worker does, it does; and the guest that loses it runs on."""

import contextlib
import time
import unittest

from lab import Host
from lab.guest import CROFT, DebianGuest

NETWORK = "/build/network/croft-network"
HOST = "10.177.0.1"
FILES = {"large": 8 << 20, "small": 100_000}
CARRIER = "/sys/class/net/eth0/carrier"


class NicProcessTest(unittest.TestCase):
    def _address(self, guest):
        end = time.monotonic() + 120
        while not (found := guest.info()["guest"].get("NetworkAddressIPv4")):
            self.assertLess(time.monotonic(), end)
        return found.split(";")[0]

    def _statistics(self, guest):
        return guest.info()["statistics"]["nics"][0]

    def _exchange(self, guest, address, name):
        """Datagrams and streams, both ways; what arrives is what was sent."""
        host = guest.host
        guest.run(f"ping -c 3 -W 10 -s 1472 {HOST}")
        host.run(["ping", "-c", "3", "-W", "10", "-s", "1472", address], check=True)
        checksum = host.run(f"sha256sum /tmp/www/{name}", check=True).output.split()[0]
        guest.run(f"busybox wget -q -O /tmp/www/{name} http://{HOST}:8080/{name}", timeout=180)
        self.assertIn(checksum, guest.run(f"sha256sum /tmp/www/{name}"))
        fetched = host.run(f"busybox wget -q -O /tmp/back http://{address}:8080/{name} && "
                           "sha256sum /tmp/back", timeout=180, check=True).output
        self.assertEqual(fetched.split()[0], checksum)

    def _check_process(self, host):
        """It is one, and has no rights. Answers its number."""
        process = host.run("pidof croft-nic", check=True).output.strip()
        self.assertRegex(process, r"^\d+$")
        status = host.run(f"cat /proc/{process}/status", check=True).output
        self.assertIn("NoNewPrivs:\t1\n", status)
        self.assertIn("CapEff:\t0000000000000000\n", status)
        return process

    @contextlib.contextmanager
    def _guest(self, name):
        """One with an adapter on the host's network, whose process has no rights."""
        with Host(name=f"nic-process-{name}", memory="4G") as host:
            host.run([NETWORK, "up"], check=True)
            host.run("mkdir -p /tmp/www; busybox httpd -p 8080 -h /tmp/www", check=True)
            for file, size in FILES.items():
                host.run(f"head -c {size} /dev/urandom >/tmp/www/{file}", check=True)
            guest = DebianGuest(host, words=("--processors", "2", "--nic",
                                             "tap=vm0,bridge=croft0,process=own"))
            guest.start()
            guest.run("mkdir -p /tmp/www; busybox httpd -p 8080 -h /tmp/www")
            yield guest
            host.power_off()

    def test_does_what_one_in_the_worker_does(self):
        with self._guest("life") as guest:
            host = guest.host
            address = self._address(guest)
            process = self._check_process(host)
            self._exchange(guest, address, "large")
            # A channel for each processor.
            guest.run("test $(ls -d /sys/class/net/eth0/device/channels/* | wc -l) = 2")
            found = self._statistics(guest)
            self.assertEqual((found["process"], found["channels"]), (int(process), 2))
            self.assertGreater(found["sent"]["bytes"], FILES["large"])
            self.assertGreater(found["received"]["bytes"], FILES["large"])
            for down, up in ((f"{CROFT} vm link {guest.name} 0 down",
                              f"{CROFT} vm link {guest.name} 0 up"),
                             ("ip link set vm0 down", "ip link set vm0 up")):
                host.run(down, check=True)
                guest.run(f"while grep -q 1 {CARRIER}; do sleep 0.05; done")
                self.assertFalse(self._statistics(guest)["connected"])
                host.run(up, check=True)
                guest.run(f"until grep -q 1 {CARRIER}; do sleep 0.05; done")
            self._exchange(guest, address, "small")
            self._pause(guest, address)
            self._exchange(guest, address, "small")

    def _pause(self, guest, address):
        """Nothing goes meanwhile, and a cable that is pulled is news afterwards."""
        guest.croft("pause", guest.name)
        still = self._statistics(guest)
        guest.host.run(["ping", "-c", "2", "-W", "2", address])
        self.assertEqual(self._statistics(guest), still)
        guest.croft("link", guest.name, "0", "down")
        guest.croft("resume", guest.name)
        guest.run(f"while grep -q 1 {CARRIER}; do sleep 0.05; done")
        guest.croft("link", guest.name, "0", "up")
        guest.run(f"until grep -q 1 {CARRIER}; do sleep 0.05; done")

    @contextlib.contextmanager
    def _load(self, guest, address):
        """Streams both ways, for as long as there is something to carry them."""
        host = guest.host
        guest.run(f"head -c {FILES['large']} /dev/urandom >/tmp/www/large; "
                  f"(while busybox wget -q -O /dev/null http://{HOST}:8080/large; do :; done) "
                  ">/tmp/load.log 2>&1 & echo $! >/tmp/load")
        back = host.start_command(["sh", "-c", "while busybox wget -q -O /dev/null "
                                               f"http://{address}:8080/large; do :; done"])
        for way in ("rx", "tx"):
            host.run(f"""file=/sys/class/net/vm0/statistics/{way}_bytes
                limit=$(($(cat $file) + 1048576))
                until [ $(cat $file) -gt $limit ]; do usleep 20000; done""", check=True)
        yield
        guest.run("kill $(cat /tmp/load) || true")
        back.signal()

    def test_is_lost_with_its_process(self):
        with self._guest("death") as guest:
            host = guest.host
            address = self._address(guest)
            self._exchange(guest, address, "small")
            process = self._check_process(host)
            with self._load(guest, address):
                host.run(["kill", "-KILL", process], check=True)
                guest.run("while test -e /sys/class/net/eth0; do sleep 0.05; done")
            # Its driver waits for all that it has sent, and holds the guest's network meanwhile.
            self.assertNotIn("eth0", guest.run("ip link show"))
            log = host.run(f"cat /run/croft/vm/{guest.name}.log", check=True).output
            self.assertIn(f"network adapter 0: its process, croft-nic {process}, was ended by "
                          "signal 9 (Killed); the guest has lost the adapter and runs on", log)
            info = guest.info()
            self.assertEqual(info["state"], "running")
            found = info["statistics"]["nics"][0]
            self.assertEqual((found["process"], found["connected"]), (None, False))
            self.assertIn(guest.name, guest.croft("list").output)
            self.assertEqual(guest.run("nproc"), "2\n")
            # Another takes its place.
            guest.croft("detach-nic", guest.name, "0")
            guest.croft("attach-nic", guest.name, "tap=vm0,bridge=croft0,process=own")
            guest.run(f"until ping -c 1 -W 5 {HOST} >/tmp/ping 2>&1; do sleep 0.2; done")
            self.assertNotEqual(self._check_process(host), process)
            ended = guest.shut_down()
            self.assertEqual((ended.status, ended.error), (0, ""))
            self.assertEqual(host.run("pidof croft-nic").output, "")


if __name__ == "__main__":
    unittest.main()
