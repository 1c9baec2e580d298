# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel that boots again and again, once because its worker was killed, and finds each
time what it wrote before."""

import re
import unittest

from debian import CHECKED_JOB
from lab import Host
from lab.guest import DebianGuest

REBOOTS = 20
KILLED_AFTER = 10

# Another pattern each time, of which every byte is compared, so that nothing of an earlier boot
# will do, as it would by a checksum of what is there. A boot that is cut short has spoilt its own
# file, not that of the one before it.
PATTERN_JOB = ("--name=pattern --filename=/var/tmp/pattern$((i % 2)) --size=4M --bs=16k "
               "--ioengine=libaio --iodepth=16 --direct=1 --verify=pattern --verify_pattern=$i "
               "--output-format=terse")

# In place of a whole system.
WRITER = f"""#!/bin/sh
mount -t proc proc /proc
mount -o remount,rw /
mkdir -p /var/tmp/checked

# What boot $1 writes, or has written.
jobs_of() {{
    i=$1
    shift
    fio {PATTERN_JOB} "$@" {CHECKED_JOB} "$@"
}}

end() {{
    echo "$1"
    mount -o remount,ro /
    poweroff -f
}}

last=$(cat /var/tmp/boots || echo 0)
[ $last = 0 ] || jobs_of $last --rw=randread --verify_only || end "lost after boot $last"
echo "found: $last."
if [ $last -ge {REBOOTS} ]; then
    fio $(for i in $(seq $last); do
        echo {CHECKED_JOB} --rw=randread --verify_only --stonewall
    done) || end "lost of one of all boots"
    end "all found"
fi
next=$((last + 1))
jobs_of $next --rw=randwrite --do_verify=0 --end_fsync=1 || end "not written by boot $next"
# The number is the old one or the new one, whenever the end comes.
echo $next >/var/tmp/boots.new && sync && mv /var/tmp/boots.new /var/tmp/boots && sync
echo "on disk: $next."
reboot -f
"""


class RebootTest(unittest.TestCase):
    def test_what_was_written_is_there(self):
        with Host(name="reboots") as host:
            guest = DebianGuest(host, line="init=/usr/local/sbin/writer")
            guest.put_program(WRITER, "/usr/local/sbin/writer")
            guest.start_machine()
            guest.console.wait_for(rf"on disk: {KILLED_AFTER}\.", timeout=800)
            ended = guest.kill_worker()
            self.assertIn("signal 9", ended.error)
            self.assertEqual(self._found(ended)[:KILLED_AFTER], list(range(KILLED_AFTER)))
            guest.start_machine()
            ended = guest.console.wait(800)
            self.assertEqual((ended.status, ended.error), (0, ""))
            self.assertIn("all found", ended.output)
            found = self._found(ended)
            self.assertGreaterEqual(found[0], KILLED_AFTER, ended.output)
            self.assertEqual(found, list(range(found[0], REBOOTS + 1)))
            host.power_off()

    @staticmethod
    def _found(ended):
        """The boots of which it has said that all is there."""
        return [int(number) for number in re.findall(r"found: (\d+)\.", ended.output)]


if __name__ == "__main__":
    unittest.main()
