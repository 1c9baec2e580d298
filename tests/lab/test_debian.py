# SPDX-License-Identifier: Apache-2.0
"""A stock Debian on its disk, started by croft vm run: from its login to the end that it is asked
for."""

import unittest

import outside
from debian import FIO, DebianTestCase
from lab.guest import CROFT

NETWORK = "/build/network/croft-network"


class DebianTest(DebianTestCase):
    def test_from_login_to_shutdown(self):
        with self.guest("life") as guest:
            guest.start(own_kernel=True)
            self.assertEqual(guest.run("nproc"), "2\n")
            self.assertEqual(guest.run("findmnt -no SOURCE,FSTYPE /").split(), ["/dev/sda", "ext4"])
            info = self.wait_until(guest, lambda info: "OSName" in info["guest"])
            self.assertEqual(info["heartbeat"], "ok")
            self.assertEqual(info["guest"]["OSName"], "Debian GNU/Linux")
            self.assertEqual(info["guest"]["FullyQualifiedDomainName"], "debian")
            guest.run(f"{FIO} --rw=randwrite", timeout=300)
            guest.croft("shutdown", guest.name, "--reboot")
            guest.wait_for_login(count=2)
            guest.run(f"{FIO} --rw=randread --verify_only", timeout=300)
            self.assertIn(guest.name, guest.croft("list").output)
            ended = guest.shut_down()
            self.assertEqual((ended.status, ended.error), (0, ""))
            self.check_file_system(guest)

    def test_network(self):
        """On line with nothing configured: an address by DHCP, which the host hears of, and a way
        out."""
        with self.guest("network") as guest:
            beyond = outside.Outside(guest.host)
            guest.host.run([NETWORK, "up"], check=True)
            guest.start()
            info = self.wait_until(guest, lambda info: info["guest"].get("NetworkAddressIPv4"))
            address = info["guest"]["NetworkAddressIPv4"].split(";")[0]
            self.assertIn(address, guest.host.run([NETWORK, "show"]).output)
            guest.host.run(["ping", "-c", "3", address], check=True)
            guest.run("ping -c 3 10.177.0.1")
            self.assertIn("nameserver 10.177.0.1", guest.run("cat /etc/resolv.conf"))
            self._reach_outside(guest, beyond, address)
            self.assertEqual(beyond.end().status, 0)
            self.assertEqual(guest.shut_down().status, 0)

    def _reach_outside(self, guest, beyond, address):
        """By names, to machines that have never heard of guests; not the other way."""
        def ask():
            return guest.run(f"busybox wget -q -O - http://{outside.NAME}/cgi-bin/who")

        self.assertIn(outside.ADDRESS, guest.run(f"getent hosts {outside.NAME}"))
        self.assertEqual(len(beyond.ways()), 1)
        self.assertRegex(ask(), rf"asked by \[?(::ffff:)?{outside.HOST}\]?\n")
        guest.run("mkdir -p /tmp/www; busybox httpd -p 8080 -h /tmp/www")
        guest.host.run(["nc", address, "8080"], check=True)
        beyond.find_way("10.177.0.0/24")
        self.assertFalse(beyond.connect(address, 8080))
        self.assertRegex(ask(), outside.HOST)

    def test_receive_scaling(self):
        """What comes by which channel is the guest's to say."""
        with self.guest("scaling") as guest:
            guest.start("--nic", "tap=tap0,queues=2")
            guest.host.run("ip address add 192.168.77.1/24 dev tap0", check=True)
            guest.run("ip address add 192.168.77.2/24 dev eth0; ip link set eth0 up; "
                      "test $(ethtool -x eth0 | grep -c '^ *[0-9]*: .*[01]') -gt 0")
            for channel in (1, 0, 1):
                weights = "0 1" if channel else "1 0"
                guest.run(f"ethtool -X eth0 weight {weights}")
                before = self._received(guest)
                guest.host.run(["ping", "-c", "20", "-i", "0.1", "192.168.77.2"], check=True)
                after = self._received(guest)
                self.assertGreaterEqual(after[channel] - before[channel], 20)
                self.assertLess(after[1 - channel] - before[1 - channel], 10)
            self.assertEqual(guest.shut_down().status, 0)

    @staticmethod
    def _received(guest):
        """Packets by channel."""
        said = guest.run("ethtool -S eth0 | grep -E 'rx_queue_[01]_packets'")
        return [int(line.split()[1]) for line in said.splitlines()]

    def test_trim_shrinks_the_file(self):
        with self.guest("trim") as guest:
            guest.start()
            guest.run("dd if=/dev/urandom of=/var/tmp/big bs=1M count=96 conv=fsync", timeout=300)
            before = self._room(guest)
            guest.run("rm /var/tmp/big; sync; fstrim -v /", timeout=300)
            # Room is given back with a commit: at the guest's next flush, or here.
            self.assertEqual(guest.shut_down().status, 0)
            self.assertLess(self._room(guest), before - (80 << 20))
            self.check_file_system(guest)

    def _room(self, guest):
        """What the disk takes of the host's."""
        return 1024 * int(guest.host.run(["du", "-k", guest.disk], check=True).output.split()[0])

    def test_64_disks(self):
        """As many as a controller has, each with what is its own."""
        with self.guest("disks") as guest:
            guest.host.run("for i in $(seq 63); do seq $i 10000 | head -c 4096 >/tmp/$i.img; "
                           "truncate -s 1M /tmp/$i.img; done", check=True)
            guest.start(*(word for i in range(1, 64) for word in ("--disk", f"/tmp/{i}.img,raw")))
            self.assertEqual(guest.run("ls -d /sys/block/sd* | wc -l"), "64\n")
            guest.run("(for i in $(seq 63); do seq $i 10000 | head -c 4096 | cmp -n 4096 - "
                      "/dev/$(ls /sys/bus/scsi/devices/*:0:0:$i/block) || exit; done)")
            self.assertEqual(guest.shut_down().status, 0)

    def test_console(self):
        """Left and taken again; what the guest has printed meanwhile is shown."""
        with self.guest("console") as guest:
            guest.start()
            guest.console.write(b"(sleep 2; echo printed \"while nobody looked\") &\n")
            guest.console.wait_for(r"\[1\] \d+")  # the shell has it
            guest.console.signal()  # only croft's end of the console goes
            guest.console.wait(30)
            viewer = guest.host.start_command([CROFT, "vm", "console", guest.name])
            viewer.wait_for("printed while nobody looked")
            viewer.write(b"poweroff\n")
            ended = viewer.wait(120)
            self.assertEqual(ended.status, 0)
            self.assertIn("has ended", ended.error)


if __name__ == "__main__":
    unittest.main()
