# SPDX-License-Identifier: Apache-2.0
"""What is beyond a host's own network: one more machine, a child on a network of its own, which
knows no way to the host's guests, and a name that the host's resolver has for it."""

import re
import time

from lab import LabError
from lab.child import Child
from root import recipe

# In a network for documentation (RFC 5737).
HOST = "192.0.2.1"
ADDRESS = "192.0.2.2"
NAME = "outside.test"

# Says who asks.
WHO = ("#!/bin/sh", "echo Content-Type: text/plain", "echo", "echo \"asked by $REMOTE_ADDR\"")

# Counts what passes the host between both.
PROBE = """
table ip probe {{
    chain forward {{
        type filter hook forward priority -300
        ip saddr {outside} ip daddr {address} tcp dport {port} counter
        ip saddr {address} ip daddr {outside} tcp sport {port} counter
    }}
}}
"""


class Outside:
    """It runs, and serves http://NAME/cgi-bin/who, when this is made."""

    def __init__(self, host):
        self._host = host
        self._child = Child(host, recipe.obtain(), "hv_netvsc", "--nic", "tap=outside",
                            processors=1)
        host.run(f"ip address add {HOST}/24 dev outside", check=True)
        self._child.run(f"ip address add {ADDRESS}/24 dev eth0; ip link set eth0 up; "
                        "until grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done")
        script = " ".join(f"'{line}'" for line in WHO)
        self._child.run("mkdir -p /tmp/www/cgi-bin; cd /tmp/www/cgi-bin; "
                        f"printf '%s\\n' {script} >who; chmod +x who; httpd -p 80 -h /tmp/www")
        host.run("dnsmasq --conf-file=/dev/null --pid-file=/tmp/resolver.pid --bind-interfaces "
                 f"--listen-address={HOST} --no-resolv --no-hosts --address=/{NAME}/{ADDRESS} && "
                 f"echo nameserver {HOST} >/etc/resolv.conf", check=True)

    def ways(self):
        """The networks that it can send to."""
        return self._child.run("ip route").splitlines()

    def find_way(self, network):
        """From now on it sends what is for that network to the host."""
        self._child.run(f"ip route add {network} via {HOST}")

    def connect(self, address, port, timeout=60):
        """Tries to; answers whether it gets an answer before it has asked again."""
        probe = PROBE.format(outside=ADDRESS, address=address, port=port)
        self._host.run(["nft", "-f", "-"], input=probe, check=True)
        self._child.run(f"nc {address} {port} </dev/null >/dev/null 2>&1 & attempt=$!")
        end = time.monotonic() + timeout
        while True:
            said = self._host.run("nft list table ip probe", check=True).output
            asked, answered = (int(count) for count in re.findall(r"packets (\d+)", said))
            if answered or asked > 1:
                break
            if time.monotonic() > end:
                raise LabError(f"{ADDRESS} has asked {asked} times within {timeout} s; expected 2")
        self._host.run("nft delete table ip probe", check=True)
        self._child.run("kill $attempt 2>/dev/null; true")
        return answered > 0

    def end(self):
        return self._child.end()
