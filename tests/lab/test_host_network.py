# SPDX-License-Identifier: Apache-2.0
"""The host's ready-made network: what it makes, what it leaves alone, what it refuses."""

import unittest

from lab import Host

NETWORK = "/build/network/croft-network"


class HostNetworkTest(unittest.TestCase):
    def test_up_and_down(self):
        with Host(name="host-network") as host:
            def croft_network(*words, status=0, **options):
                result = host.run([NETWORK, *words], **options)
                self.assertEqual(result.status, status, result)
                return result

            def state():
                return host.run("ip -o link | cut -d: -f2; ip -4 -o route; nft list ruleset; "
                                "cat /proc/sys/net/ipv4/ip_forward; pidof dnsmasq").output

            before = state()
            self.assertIn("croft-network up", croft_network("show", status=3).output)
            croft_network("up")
            up = state()
            self.assertIn("croft0", up)
            self.assertIn("masquerade", up)
            croft_network("up")
            self.assertEqual(state(), up, "what is there stays as it is")
            shown = croft_network("show").output
            self.assertRegex(shown, r"address +10\.177\.0\.1/24\n")
            self.assertRegex(shown, r"guests +10\.177\.0\.2 to 10\.177\.0\.254\n")
            croft_network("down")
            self.assertEqual(state(), before)
            croft_network("down")
            self._check_refusals(host, croft_network)
            self.assertEqual(state(), before)
            host.power_off()

    def _check_refusals(self, host, croft_network):
        host.run("ip link add taken type bridge && "
                 "ip address add 10.177.0.77/16 dev taken && ip link set taken up", check=True)
        error = croft_network("up", status=1).error
        self.assertIn("10.177.0.0/16", error)
        self.assertIn("ADDRESS=", error)
        host.run("ip link set taken down && ip link set taken name croft0", check=True)
        self.assertIn("BRIDGE=", croft_network("up", status=1).error)
        croft_network("down")
        host.run("ip link delete croft0", check=True)
        host.run("echo ADDRESS=nonsense >/tmp/settings", check=True)
        self.assertIn("nonsense", croft_network(
            "up", status=1, environment={"CROFT_NETWORK_SETTINGS": "/tmp/settings"}).error)
        croft_network("fly", status=64)


if __name__ == "__main__":
    unittest.main()
