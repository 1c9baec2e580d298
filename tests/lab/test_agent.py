# SPDX-License-Identifier: Apache-2.0
"""The lab itself: commands in a root on the bare machine, without the hypervisor."""

import hashlib
import pathlib
import signal
import tempfile
import time
import unittest

from lab import CommandTimeout, Host, LabError


class AgentTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host(hypervisor=False, name="agent")
        cls.host.start()
        cls.addClassCleanup(cls.host.stop)

    def test_output_error_and_status(self):
        result = self.host.run("echo out; echo err >&2; exit 7")
        self.assertEqual((result.status, result.output, result.error), (7, "out\n", "err\n"))

    def test_end_by_signal(self):
        self.assertEqual(self.host.run("kill -KILL $$").status, -signal.SIGKILL)

    def test_arguments_stay_whole(self):
        words = ["", "two words", "quo'te", 'quo"te', "$HOME", "ü", "new\nline"]
        result = self.host.run(["printf", "%s|", *words])
        self.assertEqual(result.output, "|".join(words) + "|")

    def test_directory_and_environment(self):
        result = self.host.run('echo "$PWD $COLOUR"', directory="/usr",
                               environment={"COLOUR": "a b"})
        self.assertEqual(result.output, "/usr a b\n")

    def test_what_cannot_be_started(self):
        with self.assertRaisesRegex(LabError, "cannot run 'nonesuch': No such file"):
            self.host.run(["nonesuch"])
        with self.assertRaisesRegex(LabError, "cannot enter directory '/nonesuch'"):
            self.host.run(["true"], directory="/nonesuch")

    def test_check(self):
        with self.assertRaisesRegex(LabError, "status 3; expected 0"):
            self.host.run("exit 3", check=True)

    def test_big_output(self):
        result = self.host.run("seq 1 1000000; seq 1 100000 >&2")
        self.assertEqual(result.output, "".join(f"{n}\n" for n in range(1, 1000001)))
        self.assertEqual(result.error, "".join(f"{n}\n" for n in range(1, 100001)))

    def test_big_input(self):
        content = b"0123456789abcdef" * 250_000
        result = self.host.run(["sha256sum"], input=content)
        self.assertEqual(result.output.split()[0], hashlib.sha256(content).hexdigest())

    def test_input_that_nobody_reads_holds_up_nothing(self):
        deaf = self.host.start_command(["sleep", "1000"])
        with deaf:
            deaf.write(b"x" * 100_000)
            self.assertEqual(self.host.run("echo hello").output, "hello\n")

    def test_input_for_a_command_that_ends_early(self):
        self.assertEqual(self.host.run(["true"], input=b"x" * 2_000_000).status, 0)

    def test_timeout_kills(self):
        begun = time.monotonic()
        with self.assertRaises(CommandTimeout) as caught:
            self.host.run("echo so far; sleep 1000", timeout=1)
        self.assertLess(time.monotonic() - begun, 6)
        self.assertEqual(caught.exception.output, "so far\n")
        self.assertNotIn("sleep 1000", self.host.run(["busybox", "ps"]).output)

    def test_several_at_once(self):
        commands = [self.host.start_command(f"read line; seq {n} {n + 20000}; echo $line")
                    for n in range(20)]
        for command in reversed(commands):
            command.write(command.name.encode() + b"\n")
        for n, command in enumerate(commands):
            result = command.wait()
            expected = "".join(f"{i}\n" for i in range(n, n + 20001)) + command.name + "\n"
            self.assertEqual(result.output, expected)

    def test_streaming_and_signal(self):
        command = self.host.start_command("trap 'echo bye; exit 4' TERM; echo ready; "
                                          "while :; do sleep 0.05; done")
        command.wait_for("^ready$")
        self.assertTrue(command.running)
        command.signal(signal.SIGTERM)
        result = command.wait()
        self.assertEqual((result.status, result.output), (4, "ready\nbye\n"))

    def test_waiting_for_words_that_never_come(self):
        command = self.host.start_command("echo one")
        with self.assertRaisesRegex(LabError, "ended .0. before it said 'two'"):
            command.wait_for("two")
        with self.host.start_command("echo one; sleep 1000") as command:
            with self.assertRaises(CommandTimeout):
                command.wait_for("two", timeout=1)

    def test_a_left_over_process_does_not_hold_up_the_end(self):
        begun = time.monotonic()
        self.assertEqual(self.host.run("sleep 30 & echo done").output, "done\n")
        self.assertLess(time.monotonic() - begun, 10)

    def test_terminal(self):
        command = self.host.start_command(
            "stty size; test -t 0 && echo terminal; read x; echo =$x=", terminal=(33, 99))
        command.wait_for("terminal")
        command.write(b"typed\n")
        self.assertRegex(command.wait().output, r"33 99\r\nterminal\r\n(typed\r\n)?=typed=\r\n")

    def test_files_in_and_out(self):
        content = bytes(range(256)) * 5000
        with tempfile.TemporaryDirectory() as directory:
            there = pathlib.Path(directory) / "there"
            back = pathlib.Path(directory) / "back"
            there.write_bytes(content)
            self.host.put(there, "/tmp/file")
            self.host.get("/tmp/file", back)
            self.assertEqual(back.read_bytes(), content)

    def test_shares(self):
        (self.host.scratch / "here").write_text("from outside")
        self.assertEqual(self.host.run("cat /scratch/here").output, "from outside")
        self.host.run("echo from inside >/scratch/there", check=True)
        self.assertEqual((self.host.scratch / "there").read_text(), "from inside\n")
        self.assertEqual(self.host.run("test -x /build/lab/croft-agent").status, 0)
        self.assertNotEqual(self.host.run("touch /build/x").status, 0)


if __name__ == "__main__":
    unittest.main()
