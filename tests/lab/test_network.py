# SPDX-License-Identifier: Apache-2.0
"""Network of a child partition, by the hv_netvsc of Debian's stock kernel, on a TAP device."""

import contextlib
import json
import time
import unittest

from lab import Host
from lab.child import Child
from lab.guest import CROFT
from root import recipe

HOST = "192.168.77.1"
GUEST = "192.168.77.2"
NOBODY = "192.168.77.9"
MEGABYTES = 16

# That a guest gives itself.
GUEST_ADDRESS = "02:00:00:00:00:77"
CHANNELS = "/sys/class/net/eth0/device/channels"

# The control sockets, and another network with an adapter that comes and goes.
VMS = "/tmp/vms"
OTHER_HOST = "192.168.78.1"
OTHER_GUEST = "192.168.78.2"


class Guest(Child):
    """A child with a NIC."""

    def __init__(self, host, artifacts, processors=2, nic="tap=tap0"):
        host.run(f"mkdir -p {VMS}", check=True)
        super().__init__(host, artifacts, "hv_netvsc", "--nic", nic, "--control", f"{VMS}/vm.sock",
                         processors=processors)

    def bring_up(self, mtu=None):
        if mtu:
            self.run(f"ip link set eth0 mtu {mtu}")
        self.run(f"ip address add {GUEST}/24 dev eth0 2>/dev/null; ip link set eth0 up")
        self.run("until grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")


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
        host.run(f"ping -c 3 -W 10 -M do -s {size} {GUEST}", check=True)

    def _serve(self, host, guest):
        """A file to fetch, the same on both sides; answers its checksum."""
        host.run(f"mkdir -p /tmp/www; head -c {MEGABYTES << 20} /dev/urandom >/tmp/www/data; "
                 "busybox httpd -p 8080 -h /tmp/www", check=True)
        guest.run("mkdir -p /tmp/www; httpd -p 8080 -h /tmp/www")
        return host.run("sha256sum /tmp/www/data", check=True).output.split()[0]

    def _transfer(self, host, guest, checksum):
        """By TCP to the guest and back; what arrives is what was sent."""
        guest.run(f"wget -q -O /tmp/www/data http://{HOST}:8080/data", timeout=180)
        self.assertIn(checksum, guest.run("sha256sum /tmp/www/data"))
        fetched = host.run(f"busybox wget -q -O /tmp/back http://{GUEST}:8080/data && "
                           "sha256sum /tmp/back", timeout=180, check=True)
        self.assertEqual(fetched.output.split()[0], checksum)

    def _check_counters(self, host, guest):
        """Nothing was damaged on the way."""
        text = guest.run("cat /proc/net/snmp")
        host_text = host.run("cat /proc/net/snmp", check=True).output
        for found in (text, host_text):
            for kind in ("Tcp", "Udp", "Icmp"):
                names, values = [line.split()[1:] for line in found.splitlines()
                                 if line.startswith(f"{kind}:")][:2]
                self.assertEqual(dict(zip(names, values))["InCsumErrors"], "0", kind)

    def test_ping_and_tcp(self):
        """Datagrams and streams, and their checksums, both ways."""
        with self._host("network-tcp") as host:
            guest = Guest(host, self.artifacts, processors=1)
            self._address_host(host)
            guest.bring_up()
            self.assertIn("00:15:5d:", guest.run("cat /sys/class/net/eth0/address"))
            self._ping(host, guest)
            self._ping(host, guest, 1472)
            checksum = self._serve(host, guest)
            self._transfer(host, guest, checksum)
            # Large frames went both ways, cut up by nobody.
            for way in ("rx", "tx"):
                packets = int(guest.run(f"cat /sys/class/net/eth0/statistics/{way}_packets"))
                self.assertLess(packets, (MEGABYTES << 20) // 1448 // 2, way)
            self._change_address(host, guest)
            self._be_promiscuous(host, guest)
            self._check_counters(host, guest)
            result = guest.end()
            self.assertEqual((result.status, result.error), (0, ""))

    def _change_address(self, host, guest):
        """Frames come by an address that the guest gives itself."""
        guest.run(f"ip link set eth0 down; ip link set eth0 address {GUEST_ADDRESS}; "
                  "ip link set eth0 up")
        host.run("ip neigh flush dev tap0", check=True)
        self._ping(host, guest)
        self.assertIn(f"lladdr {GUEST_ADDRESS} ",
                      host.run(f"ip neigh show {GUEST}", check=True).output)

    def _others_frames_come(self, host, guest):
        """Whether the guest gets frames whose address isn't its own."""
        count = 20

        def received():
            return int(guest.run("cat /sys/class/net/eth0/statistics/rx_packets"))

        before = received()
        host.run(f"ping -c {count} -i 0.01 -W 1 {NOBODY}")
        host.run(f"ping -c 1 -W 10 {GUEST}", check=True)  # behind those
        return received() - before > count

    def _be_promiscuous(self, host, guest):
        """The guest's driver changes its filter some time later."""
        host.run(f"ip neigh replace {NOBODY} lladdr 02:00:00:00:00:99 dev tap0", check=True)
        self.assertFalse(self._others_frames_come(host, guest))
        for state in ("on", "off"):
            guest.run(f"ip link set eth0 promisc {state}")
            end = time.monotonic() + 60
            while self._others_frames_come(host, guest) != (state == "on"):
                self.assertLess(time.monotonic(), end, state)

    def _busy_channels(self, guest, action):
        """How many channels had interrupts while that was done."""
        def interrupts():
            return [int(count) for count in guest.run(f"cat {CHANNELS}/*/interrupts").split()]

        before = interrupts()
        action()
        return sum(now > then + 20 for then, now in zip(before, interrupts()))

    def _retarget(self, host, guest):
        """The guest has other processors interrupted, while both ways are busy."""
        home = guest.run(f"cat {CHANNELS}/*/cpu").split()
        with self._load(host, guest, HOST, GUEST):
            for cpus in (["0"] * 4, home[1:] + home[:1], ["3"] * 4, home):
                self._wait_for_traffic(host, "tap0")
                guest.run(f"set -- {' '.join(cpus)}; for channel in {CHANNELS}/*; do "
                          "echo $1 >$channel/cpu; shift; done")
                self.assertEqual(guest.run(f"cat {CHANNELS}/*/cpu").split(), cpus)
            self._wait_for_traffic(host, "tap0")

    def test_channels_and_jumbo_frames(self):
        """A channel for each processor, and frames that the guest's MTU lets it send."""
        with self._host("network-channels") as host:
            guest = Guest(host, self.artifacts, processors=4,
                          nic="tap=tap0,mtu=9000,mac=02:00:00:00:00:42")
            self._address_host(host)
            guest.bring_up(mtu=9000)
            self.assertIn("02:00:00:00:00:42", guest.run("cat /sys/class/net/eth0/address"))
            guest.run("test $(cat /sys/class/net/eth0/mtu) = 9000")
            guest.run("test $(ls -d /sys/class/net/eth0/queues/tx-* | wc -l) = 4")
            guest.run("test $(ls -d /sys/class/net/eth0/device/channels/* | wc -l) = 4")
            guest.run("test $(cat /sys/class/net/eth0/device/channels/*/cpu | sort | uniq | wc -l) "
                      "= 4")
            self._ping(host, guest, 8972)
            checksum = self._serve(host, guest)

            def fetch_side_by_side():
                guest.run("for i in 1 2 3 4; do "
                          f"wget -q -O /tmp/$i http://{HOST}:8080/data & done; wait; "
                          "sha256sum /tmp/[1-4] | cut -c 1-64 | uniq >/tmp/found; "
                          "rm /tmp/[1-4]", timeout=180)
                self.assertEqual(guest.run("cat /tmp/found").strip(), checksum)

            # They spread over the channels; which ones they take is chance.
            self.assertTrue(any(self._busy_channels(guest, fetch_side_by_side) > 1
                                for _ in range(5)))
            self._transfer(host, guest, checksum)
            self._retarget(host, guest)
            self._check_counters(host, guest)
            self.assertEqual(guest.end().error, "")

    def test_link_and_reboot(self):
        """The device's state is the guest's link; a guest that boots again is on line again."""
        with self._host("network-link") as host:
            host.run("ip link add br0 type bridge; ip link set br0 up", check=True)
            guest = Guest(host, self.artifacts, nic="tap=tap0,bridge=br0")
            host.run(f"ip address add {HOST}/24 dev br0", check=True)
            self.assertIn("master br0", host.run("ip link show tap0").output)
            guest.bring_up()
            self._ping(host, guest)
            for _ in range(3):
                host.run("ip link set tap0 down", check=True)
                guest.run("while grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")
                host.run("ip link set tap0 up", check=True)
                guest.run("until grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")
            self._ping(host, guest)
            address = guest.run("cat /sys/class/net/eth0/address")
            guest.worker.write(b"reboot -f\n")
            guest.wait_for_shell(times=2)
            self.assertEqual(guest.run("cat /sys/class/net/eth0/address"), address)
            guest.bring_up()
            self._ping(host, guest)
            # One that is taken away from the host is a link that is down.
            host.run("ip link delete tap0", check=True)
            guest.run("while grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")
            self.assertEqual(guest.end().error, "")

    def _croft(self, host, *words):
        return host.run(["env", f"CROFT_VMS={VMS}", CROFT, "vm", *words], check=True).output

    def _wait_for_traffic(self, host, device):
        """A megabyte each way."""
        for way in ("rx", "tx"):
            host.run(f"""file=/sys/class/net/{device}/statistics/{way}_bytes
                limit=$(($(cat $file) + 1048576))
                until [ $(cat $file) -gt $limit ]; do usleep 20000; done""", check=True)

    @contextlib.contextmanager
    def _load(self, host, guest, host_address, guest_address):
        """Downloads both ways, one after the other."""
        guest.run(f"(while :; do wget -q -O /dev/null http://{host_address}:8080/data; done) & "
                  "echo $! >/tmp/load")
        back = host.start_command(["sh", "-c", "while :; do busybox wget -q -O /dev/null "
                                               f"http://{guest_address}:8080/data; done"])
        yield
        guest.run("kill $(cat /tmp/load)")
        back.signal()

    def test_cable(self):
        """The cable's state is the guest's link, under load too."""
        with self._host("network-cable") as host:
            guest = Guest(host, self.artifacts)
            self._address_host(host)
            guest.bring_up()
            checksum = self._serve(host, guest)
            self._transfer(host, guest, checksum)
            with self._load(host, guest, HOST, GUEST):
                for _ in range(3):
                    self._wait_for_traffic(host, "tap0")
                    self._croft(host, "link", "vm", "0", "down")
                    guest.run("while grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")
                    self.assertIn(" down ", self._croft(host, "nics", "vm"))
                    guest.run(f"ping -c 1 -w 2 {HOST}", status=1)
                    self._croft(host, "link", "vm", "0", "up")
                    guest.run("until grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")
            self._transfer(host, guest, checksum)
            self._check_counters(host, guest)
            self.assertEqual(guest.end().error, "")

    def test_adapters_come_and_go(self):
        """One is added and taken away again while both ways are busy; the other notices nothing."""
        with self._host("network-hot-plug") as host:
            guest = Guest(host, self.artifacts)
            self._address_host(host)
            guest.bring_up()
            checksum = self._serve(host, guest)
            self._transfer(host, guest, checksum)
            for _ in range(4):
                self.assertEqual(self._croft(host, "attach-nic", "vm", "tap=tap1"), "number 1\n")
                guest.run("until ip address add "
                          f"{OTHER_GUEST}/24 dev eth1 2>/dev/null; do usleep 20000; done; "
                          "ip link set eth1 up")
                host.run(f"ip address add {OTHER_HOST}/24 dev tap1", check=True)
                guest.run(f"ping -c 3 -W 10 {OTHER_HOST}")
                with self._load(host, guest, OTHER_HOST, OTHER_GUEST):
                    self._wait_for_traffic(host, "tap1")
                    self._croft(host, "detach-nic", "vm", "1")
                    host.run("! ip link show tap1", check=True)
                    guest.run("while test -e /sys/class/net/eth1; do usleep 20000; done")
                self._ping(host, guest)
            self._transfer(host, guest, checksum)
            self._check_counters(host, guest)
            self._croft(host, "detach-nic", "vm", "0")
            guest.run("while test -e /sys/class/net/eth0; do usleep 20000; done")
            self.assertEqual(json.loads(self._croft(host, "nics", "--json", "vm"))["nics"], [])
            self.assertEqual(guest.end().error, "")


if __name__ == "__main__":
    unittest.main()
