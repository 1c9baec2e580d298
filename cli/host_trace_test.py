# SPDX-License-Identifier: Apache-2.0
"""croft host trace, on a hypervisor that a test plays."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

CROFT = str(pathlib.Path(sys.argv.pop(1)).resolve())
HERE = pathlib.Path(__file__).resolve().parent

READ, END = 0x0009ff00, 0x0009ff40
MOST_RECORDS = 63
MICROSECOND = 1000  # ticks
INSUFFICIENT_MEMORY = 0xb

INTERRUPT, CPUID, MSR_READ, MSR_WRITE, PORT, HALT, HYPERCALL, MEMORY, EXCEPTION = (
    0, 3, 4, 5, 6, 7, 8, 9, 16)
SERVED, PARENT, WAITS, STOPPED = range(4)
UNKNOWN = 0xffffffff


def record(time=0, partition=7, vp=0, reason=CPUID, outcome=SERVED, detail=0, value=0, rip=0x1000,
           duration=2 * MICROSECOND, in_guest=UNKNOWN, code=0x72):
    """One of the hypervisor's, but for its sequence number; `time` in microseconds."""
    return (time * MICROSECOND, partition, rip, detail, value, vp, reason, outcome, code, duration,
            in_guest)


class Hypervisor:
    """Each logical processor has a list of answers, each of which is (records, lost). When all have
    been given, it has no more to say."""

    def __init__(self, folder, processors=2):
        self.processors = processors
        self.answers = [[] for _ in range(processors)]
        self.on = [False] * processors
        self.calls = []
        self.open_since = 0
        self.status = 0
        self.changed = threading.Condition()
        self.sequences = [0] * processors
        self._time = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self):
        # A thread that still waited would take the next socket with that number for this one.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()

    def wait_for(self, condition):
        with self.changed:
            if not self.changed.wait_for(condition, 20):
                raise AssertionError("it did not come to that")

    def _accept(self):
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client):
        with client:
            # A process that is killed may owe an answer, or be owed one.
            with contextlib.suppress(OSError):
                while request := client.recv(4):
                    with self.changed:
                        answer = self._answer(struct.unpack("<I", request)[0])
                        self.changed.notify_all()
                    client.send(answer)

    def _answer(self, code):
        self.calls.append(code)
        lp = code & 0x3f
        if self.status and READ <= code < END:
            return struct.pack("<I", self.status)
        records, lost = [], 0
        if code >= END:
            self.on[lp] = False
        elif not self.on[lp]:
            self.on[lp] = True
        elif self.answers[lp]:
            records, lost = self.answers[lp].pop(0)
        self.sequences[lp] += lost
        self._time = max([self._time + 1] + [one[0] + 1 for one in records])
        packed = b""
        for one in records:
            packed += struct.pack("<QQQQQQHBBIII", self.sequences[lp], *one)
            self.sequences[lp] += 1
        head = struct.pack("<IIQQQQ", len(records), self.processors, lost, self._time,
                           self.open_since, 1_000_000 * MICROSECOND)
        return struct.pack("<I", 0) + head + packed.ljust(MOST_RECORDS * 64, b"\0")


class HostTraceTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="croft-trace-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.environment = {**os.environ, "CROFT_TRACE": str(self.folder), "TZ": "UTC"}
        self.hypervisor = Hypervisor(self.folder)
        self.addCleanup(self.hypervisor.close)

    def run_croft(self, *words, status=0):
        result = subprocess.run([CROFT, "host", "trace", *words], env=self.environment, text=True,
                                capture_output=True, timeout=20, check=False)
        self.assertEqual(result.returncode, status, result.stderr + result.stdout)
        return result

    def start_croft(self, *words):
        croft = subprocess.Popen([CROFT, "host", "trace", *words], env=self.environment, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(croft.wait, 60)
        self.addCleanup(croft.stdout.close)
        self.addCleanup(croft.stderr.close)
        return croft

    def trace(self, *words, count):
        said = self.run_croft("--json", "--count", str(count), *words).stdout
        return [json.loads(line) for line in said.splitlines()]

    def has(self, *records, lp=0, lost=0):
        self.hypervisor.answers[lp].append((list(records), lost))

    def test_a_line_for_each(self):
        self.has(record(time=5, reason=PORT, detail=0x3f8 | 1 << 16, value=0x1141, outcome=PARENT),
                 record(time=9, partition=1, vp=3, reason=HALT, outcome=WAITS, duration=UNKNOWN))
        lines = self.run_croft("--count", "2").stdout.splitlines()
        self.assertEqual(lines[0].split()[:5], ["TIME", "LP", "PARTITION", "VP", "REASON"])
        first, second = (line.split() for line in lines[1:])
        self.assertRegex(first[0], r"^\d\d:\d\d:\d\d\.\d{6}$")
        self.assertEqual(first[1:], ["0", "7", "0", "port", "parent", "2.0", "0x1000", "out",
                                     "0x3f8,", "1:", "0x41"])
        self.assertEqual(second[1:], ["0", "root", "3", "halt", "waits", "-", "0x1000"])

    def test_for_programs(self):
        self.has(record(reason=CPUID, detail=0x40000003 | 2 << 32, in_guest=3 * MICROSECOND),
                 record(reason=MSR_READ, detail=0x1b),
                 record(reason=MSR_WRITE, detail=0x40000070, value=5),
                 record(reason=PORT, detail=0x71 | 2 << 16 | 7 << 24),
                 record(reason=HYPERCALL, detail=0x5d | 1 << 16, value=0x10001),
                 record(reason=MEMORY, detail=0xfee00300, value=1),
                 record(reason=EXCEPTION, detail=14 | 2 << 32, value=0xdead),
                 record(reason=77, outcome=STOPPED))
        found = self.trace(count=8)
        self.assertEqual([one["sequence"] for one in found], list(range(8)))
        self.assertEqual([one["reason"] for one in found], [
            "cpuid", "msr-read", "msr-write", "port", "hypercall", "memory", "exception",
            "unexpected"])
        for name, value in {"partition": 7, "vp": 0, "lp": 0, "by": "hypervisor", "took_us": 2.0,
                            "in_guest_us": 3.0, "rip": 0x1000, "code": 0x72, "leaf": 0x40000003,
                            "subleaf": 2}.items():
            self.assertEqual(found[0][name], value, name)
        self.assertIsNone(found[1]["in_guest_us"])
        self.assertEqual((found[1]["msr"], found[2]["msr"], found[2]["value"]),
                         (0x1b, 0x40000070, 5))
        self.assertEqual((found[3]["port"], found[3]["size"], found[3]["access"], found[3]["rep"],
                          found[3]["string"]), (0x71, 2, "in", True, True))
        self.assertEqual((found[4]["name"], found[4]["fast"], found[4]["input"]),
                         ("HvCallSignalEvent", True, 0x10001))
        self.assertEqual((found[5]["gpa"], found[5]["access"]), (0xfee00300, "write"))
        self.assertEqual((found[6]["vector"], found[6]["error_code"], found[6]["address"]),
                         (14, 2, 0xdead))
        self.assertLess(abs(found[0]["time"] - time.time()), 600)

    def test_filters(self):
        all_kinds = [record(partition=1), record(partition=7, vp=1), record(reason=MSR_READ),
                     record(reason=MSR_WRITE), record(reason=EXCEPTION), record(reason=INTERRUPT)]
        for words, expected in ((["--partition", "root"], [0]), (["--vp", "1"], [1]),
                                (["--partition", "7", "--vp", "1"], [1]),
                                (["--reason", "msr,other"], [2, 3, 4]),
                                (["--reason", "msr-write", "interrupt"], [3, 5]),
                                (["--reason", "msr-write", "--reason", "interrupt"], [3, 5]),
                                (["--reason", "msr", "--partition", "7"], [2, 3])):
            with self.subTest(words=words):
                first = self.hypervisor.sequences[0]
                self.has(*all_kinds)
                found = self.trace(*words, count=len(expected))
                self.assertEqual([one["sequence"] - first for one in found], expected)

    def test_one_logical_processor(self):
        self.has(record(), lp=1)
        self.assertEqual([one["lp"] for one in self.trace("--lp", "1", count=1)], [1])
        self.assertNotIn(READ, self.hypervisor.calls)
        said = self.run_croft("--lp", "5", status=2).stderr
        self.assertIn("logical processor 5", said)
        self.assertEqual(self.hypervisor.on, [False, False])

    def test_by_time_over_all_processors(self):
        self.has(record(time=10), record(time=30))
        self.has(record(time=20), record(time=40), lp=1)
        found = self.trace(count=4)
        self.assertEqual([one["lp"] for one in found], [0, 1, 0, 1])
        self.assertEqual([one["sequence"] for one in found], [0, 0, 1, 1])

    def test_what_is_under_way_is_waited_for(self):
        """A root that has another run in its place sees its own exit end later."""
        self.hypervisor.open_since = 15 * MICROSECOND
        self.has(record(time=10), record(time=20))
        croft = self.start_croft("--json", "--count", "3")
        self.assertEqual(json.loads(croft.stdout.readline())["sequence"], 0)
        with self.hypervisor.changed:
            self.hypervisor.open_since = 0
            self.has(record(time=15))
        self.assertEqual([json.loads(croft.stdout.readline())["sequence"] for _ in range(2)],
                         [2, 1])
        self.assertEqual(croft.wait(60), 0)

    def test_losses(self):
        self.has(record(), lost=0)
        self.has(record(), lost=123)
        found = self.trace(count=2)
        self.assertEqual(found[1], {"lp": 0, "lost": 123})
        self.assertEqual(found[2]["sequence"], 124)
        self.has(record(), lost=5)
        self.has(record())
        self.assertIn("5 exits of logical processor 0 are lost",
                      self.run_croft("--count", "2").stderr)

    def test_summary(self):
        port = dict(reason=PORT, outcome=PARENT, detail=0x60)
        self.has(record(time=100, duration=4 * MICROSECOND, **port),
                 record(time=250, in_guest=50 * MICROSECOND, duration=6 * MICROSECOND, **port),
                 record(time=800, in_guest=50 * MICROSECOND, duration=1 * MICROSECOND),
                 record(time=900, partition=8, duration=UNKNOWN), lost=9)
        found = json.loads(self.run_croft("--json", "--summary", "--count", "4").stdout)
        self.assertEqual(found["lost"], 9)
        self.assertEqual(found["reasons"]["port"],
                         {"count": 2, "mean_us": 5.0, "max_us": 6.0, "for_parent": 2,
                          "parent_mean_us": 300.0, "parent_max_us": 500.0})
        self.assertEqual(found["reasons"]["cpuid"],
                         {"count": 2, "mean_us": 1.0, "max_us": 1.0, "for_parent": 0})
        self.has(record(**port), record(**port), record(), record(reason=HALT))
        lines = self.run_croft("--summary", "--count", "3").stdout.splitlines()
        self.assertEqual([line.split()[:2] for line in lines],
                         [["REASON", "EXITS"], ["port", "2"], ["cpuid", "1"]])

    def test_an_end_by_time(self):
        begin = time.monotonic()
        self.run_croft("--duration", "50ms")
        self.assertGreaterEqual(time.monotonic() - begin, 0.05)
        self.assertEqual(self.hypervisor.on, [False, False])

    def test_an_end_by_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                croft = self.start_croft("--summary")
                self.hypervisor.wait_for(lambda: all(self.hypervisor.on))
                croft.send_signal(number)
                self.assertIn("REASON", croft.stdout.read())
                self.assertEqual(croft.wait(60), 130)
                self.assertEqual(self.hypervisor.on, [False, False])

    def test_an_end_of_the_terminal(self):
        """All of a foreground group get the signal of ^C; who switches tracing off doesn't."""
        croft = subprocess.Popen([CROFT, "host", "trace"], env=self.environment,
                                 stdout=subprocess.DEVNULL, start_new_session=True)
        self.hypervisor.wait_for(lambda: all(self.hypervisor.on))
        os.killpg(croft.pid, signal.SIGINT)
        self.assertEqual(croft.wait(60), 130)
        self.assertEqual(self.hypervisor.on, [False, False])

    def test_an_end_by_a_closed_output(self):
        for words in ([], ["--partition", "99"]):  # with output and without
            with self.subTest(words=words):
                croft = self.start_croft(*words)
                self.assertIn("TIME", croft.stdout.readline())
                croft.stdout.close()
                with self.hypervisor.changed:
                    self.has(record())
                self.assertEqual(croft.wait(60), 0)
                self.assertEqual(croft.stderr.read(), "")
                self.assertEqual(self.hypervisor.on, [False, False])

    def test_an_end_by_force(self):
        croft = self.start_croft()
        self.hypervisor.wait_for(lambda: all(self.hypervisor.on))
        croft.kill()
        self.assertEqual(croft.wait(60), -signal.SIGKILL)
        self.hypervisor.wait_for(lambda: not any(self.hypervisor.on))

    def test_what_another_has_left_on(self):
        self.hypervisor.on = [True, True]
        self.has(record(time=1, partition=99))
        self.hypervisor.answers[1].append(([record(time=2)], 0))
        calls = self.hypervisor.calls
        self.trace(count=1)
        self.assertEqual(calls[:2], [END, END + 1])

    def test_one_at_a_time(self):
        first = self.start_croft()
        self.hypervisor.wait_for(lambda: all(self.hypervisor.on))
        said = self.run_croft("--json", status=2)
        self.assertIn("already", json.loads(said.stdout)["error"])
        self.assertIn("already", said.stderr)
        self.assertEqual(self.hypervisor.on, [True, True])
        first.send_signal(signal.SIGTERM)
        self.assertEqual(first.wait(60), 130)
        self.run_croft("--duration", "1ms")

    def test_a_hypervisor_that_refuses(self):
        self.hypervisor.status = INSUFFICIENT_MEMORY
        self.assertIn("refused", self.run_croft(status=2).stderr)
        self.assertEqual(self.hypervisor.on, [False, False])

    @unittest.skipIf(pathlib.Path("/dev/mshv").exists(), "this is a root partition")
    def test_no_hypervisor(self):
        del self.environment["CROFT_TRACE"]
        said = self.run_croft("--json", status=2)
        self.assertIn("/dev/mshv", json.loads(said.stdout)["error"])
        self.assertIn("root partition", said.stderr)

    def test_wrong_words(self):
        for words in (["--partition", "0"], ["--partition", "all"], ["--vp", "-1"],
                      ["--reason", "boredom"], ["--lp", "64"], ["--count", "x"],
                      ["--duration", "0"], ["--duration", "5 days"], ["more"]):
            with self.subTest(words=words):
                self.run_croft(*words, status=64)
        self.assertIn("msr-read", self.run_croft("--reason", "boredom", status=64).stderr)

    def test_documents(self):
        """The man page names each reason, and the completion too."""
        names = set(re.search(r"expected one of (.*)", self.run_croft(
            "--reason", "boredom", status=64).stderr)[1].split(", "))
        page = (HERE / "croft-host.1").read_text().replace("\\-", "-")
        self.assertEqual([name for name in names if not re.search(rf"\b{name}\b", page)], [])
        program = ('. "$0"; COMP_WORDS=(croft host trace --reason ""); COMP_CWORD=4; _croft; '
                   'printf "%s\\n" "${COMPREPLY[@]}"')
        said = subprocess.run(["bash", "-c", program, str(HERE / "croft.bash")], text=True,
                              capture_output=True, check=True).stdout
        self.assertEqual(set(said.split()), names)


if __name__ == "__main__":
    unittest.main()
