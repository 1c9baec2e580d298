# SPDX-License-Identifier: Apache-2.0
"""Which frames a stock Debian gets: those that its driver asks for, and no others.

hv_netvsc knows two filters for an adapter that is up: what is its own, broadcast, and multicast as
a whole if anybody listens to a group, which IPv4 always does (224.0.0.1); or, promiscuous, all
there is. That it is for the guest's kernel to tell the groups apart is seen too."""

import time
import unittest

from debian import DebianTestCase

HOST = "192.168.77.1"
GUEST = "192.168.77.2"

# Where frames go to, and the address by which each is sent there.
MINE = "02:00:00:00:00:42"
BROADCAST = "ff:ff:ff:ff:ff:ff"
JOINED = "01:00:5e:01:02:03"
NOT_JOINED = "01:00:5e:04:05:06"
STRANGERS = "02:00:00:00:00:99"
PLACES = {MINE: GUEST, BROADCAST: "192.168.77.255", JOINED: "239.1.2.3", NOT_JOINED: "239.4.5.6",
          STRANGERS: "192.168.77.9"}

# What pings are filled with: those that are looked for, and the one behind them.
PROBE, LAST = "PROBE", "LAST"

# Looks at the guest's end of the wire, as tcpdump does without a filter of its own.
READER = f"""#!/usr/bin/perl
use strict;
use warnings;
use constant {{ AF_PACKET => 17, SOCK_RAW => 3, ETH_P_ALL => 3, PACKET_OUTGOING => 4 }};
$| = 1;
open(my $file, '<', '/sys/class/net/eth0/ifindex') or die $!;
my $index = <$file>;
socket(my $wire, AF_PACKET, SOCK_RAW, 0) or die $!;
bind($wire, pack('SnlSCCa8', AF_PACKET, ETH_P_ALL, $index, 0, 0, 0, '')) or die $!;
print "looking\\n";
while (1) {{
    my $from = recv($wire, my $frame, 2048, 0) // die $!;
    next if unpack('x10C', $from) == PACKET_OUTGOING;
    last if index($frame, '{LAST}') >= 0;
    next if index($frame, '{PROBE}') < 0;
    print 'to ', join(':', map {{ sprintf '%02x', $_ }} unpack('C6', $frame)), "\\n";
}}
"""


class NetworkFiltersTest(DebianTestCase):
    def test_what_the_driver_asks_for(self):
        # By one channel, so that the last frame comes last.
        with self.guest("filters", words=("--processors", "1")) as guest:
            guest.put_program(READER, "/usr/local/sbin/reader")
            guest.start("--nic", f"tap=tap0,mac={MINE}")
            guest.host.run(f"ip address add {HOST}/24 broadcast + dev tap0; "
                           f"ip neigh replace {PLACES[STRANGERS]} lladdr {STRANGERS} dev tap0; "
                           "ip route add 224.0.0.0/4 dev tap0", check=True)
            guest.run(f"ip address add {GUEST}/24 dev eth0; ip link set eth0 up; "
                      f"ip address add {PLACES[JOINED]}/32 dev eth0 autojoin; "
                      "until grep -q 1 /sys/class/net/eth0/carrier; do sleep 0.1; done; "
                      "echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts")
            self.assertIn("01005e000001", guest.run("cat /proc/net/dev_mcast"))
            usual = [MINE, BROADCAST, JOINED, NOT_JOINED]
            self.assertEqual(self._arriving(guest), usual)
            # It listens to one of both groups.
            self._ping(guest, JOINED)
            self._ping(guest, NOT_JOINED, status=1)
            guest.run("ip link set eth0 allmulticast on")
            self.assertEqual(self._arriving(guest), usual)
            guest.run("ip link set eth0 promisc on")
            self._wait_until_arriving(guest, [*usual, STRANGERS])
            guest.run("ip link set eth0 promisc off allmulticast off")
            self._wait_until_arriving(guest, usual)
            # Of a filter that was none while the adapter was down nothing is left.
            guest.run("ip link set eth0 down; ip link set eth0 up; "
                      "until grep -q 1 /sys/class/net/eth0/carrier; do sleep 0.1; done")
            self._ping(guest, MINE)
            self.assertEqual(self._arriving(guest), usual)
            self._ping(guest, JOINED)
            self.assertEqual(guest.shut_down().status, 0)

    def _arriving(self, guest):
        """To where the frames went that the guest has got, of one for each place."""
        guest.run("reader >/tmp/arrived 2>&1 & "
                  "until grep . /tmp/arrived 2>/dev/null; do sleep 0.1; done")
        for place in PLACES:
            self._send(guest, place, PROBE, "0.01")
        self._send(guest, MINE, LAST, "10")
        guest.run("wait")
        said = guest.run("cat /tmp/arrived").splitlines()
        self.assertEqual(said[0], "looking", said)
        return [line.removeprefix("to ") for line in said[1:]]

    def _wait_until_arriving(self, guest, places):
        """The driver changes its filter some time after it was told to."""
        end = time.monotonic() + 60
        while (arriving := self._arriving(guest)) != places:
            self.assertLess(time.monotonic(), end, arriving)

    def _ping(self, guest, place, status=0):
        """Whether somebody answers what goes there."""
        self.assertEqual(self._send(guest, place, PROBE, "10" if status == 0 else "1"), status)

    @staticmethod
    def _send(guest, place, content, patience):
        return guest.host.run(["ping", "-b", "-c", "1", "-W", patience, "-I", "tap0", "-p",
                               content.encode().hex(), PLACES[place]]).status


if __name__ == "__main__":
    unittest.main()
