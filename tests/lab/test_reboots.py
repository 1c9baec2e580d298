# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel that boots again and again, and finds each time what it wrote before."""

import unittest

from lab import Host
from lab.guest import DebianGuest

REBOOTS = 20

FIO = ("fio --name=job --directory=/var/tmp --size=4M --bs=16k --ioengine=libaio --iodepth=16 "
       "--direct=1 --verify=pattern --output-format=terse")

# In place of a whole system. It writes another pattern each time and compares every byte, so that
# nothing of an earlier boot will do, as it would by a checksum of what is there.
WRITER = f"""#!/bin/sh
mount -t proc proc /proc
mount -o remount,rw /
last=$(cat /var/tmp/boots || echo 0)
[ $last = 0 ] || {FIO} --rw=randread --verify_only --verify_pattern=$last || {{
    echo "lost after boot $last"
    poweroff -f
}}
[ $last -lt {REBOOTS} ] || {{
    echo "all found"
    mount -o remount,ro /
    poweroff -f
}}
next=$((last + 1))
{FIO} --rw=randwrite --do_verify=0 --verify_pattern=$next --end_fsync=1
echo $next >/var/tmp/boots
sync
reboot -f
"""


class RebootTest(unittest.TestCase):
    def test_what_was_written_is_there(self):
        with Host(name="reboots") as host:
            guest = DebianGuest(host, line="init=/usr/local/sbin/writer")
            guest.put_program(WRITER, "/usr/local/sbin/writer")
            guest.start_machine()
            ended = guest.console.wait(1500)
            self.assertEqual((ended.status, ended.error), (0, ""))
            self.assertIn("all found", ended.output)
            self.assertNotIn("lost after", ended.output)
            host.power_off()


if __name__ == "__main__":
    unittest.main()
