# SPDX-License-Identifier: Apache-2.0
"""croft vm against workers that a test plays: what it asks, what it shows, and how it ends."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

CROFT = str(pathlib.Path(sys.argv.pop(1)).resolve())
HERE = pathlib.Path(__file__).resolve().parent


class Worker:
    """A control socket with answers that are known beforehand."""

    def __init__(self, folder, name, **answers):
        self.requests = []
        self._answers = {"status": {"state": "running", "settings": {
            "processor": {"count": 2}, "memory": {"size": 1 << 30}}},
            "guest": {"heartbeat": "ok", "items": {"NetworkAddressIPv4": "10.1.2.3"}}, **answers}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f"{name}.sock"))
        self._listener.listen()
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()

    def close(self):
        # Not before nobody accepts any more: the next test's socket may get the number of this one.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._server.join()
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        with client, client.makefile("r") as lines:
            for line in lines:
                request = json.loads(line)
                self.requests.append(request)
                answer = self._answers.get(request["command"], {})
                if answer == "end":
                    return
                if answer == "nonsense":
                    client.sendall(b"nonsense\n")
                    continue
                client.sendall(json.dumps({"ok": True, **answer}).encode() + b"\n")


class VmTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="croft-vm-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def worker(self, name, **answers):
        worker = Worker(self.folder, name, **answers)
        self.addCleanup(worker.close)
        return worker

    def croft(self, *words, status=0):
        result = subprocess.run([CROFT, "vm", *words], capture_output=True, text=True, timeout=60,
                                check=False, env={**os.environ, "CROFT_VMS": str(self.folder)})
        self.assertEqual(result.returncode, status, result)
        return result

    def test_list(self):
        self.assertEqual(self.croft("list").stdout, "no VM is running\n")
        self.assertEqual(json.loads(self.croft("list", "--json").stdout), {"vms": []})
        self.worker("web")
        self.worker("db", guest={"heartbeat": "no contact", "items": {}},
                    status={"state": "paused", "settings": {}})
        self.worker("ending", status="end")
        killed = socket.socket(socket.AF_UNIX)
        killed.bind(str(self.folder / "killed.sock"))
        killed.close()
        lines = [re.split(r"  +", line.strip()) for line in self.croft("list").stdout.splitlines()]
        self.assertEqual(lines[0][0], "NAME")
        self.assertEqual(lines[1:], [["db", "paused", "-", "-", "no contact", "-"],
                                     ["web", "running", "2", "1 GiB", "ok", "10.1.2.3"]])
        found = json.loads(self.croft("list", "--json").stdout)["vms"]
        self.assertEqual([vm["name"] for vm in found], ["db", "web"])
        self.assertEqual(found[1]["guest"], {"NetworkAddressIPv4": "10.1.2.3"})

    def test_info(self):
        self.worker("web", statistics={"statistics": {"exits": 7}})
        self.assertIn("NetworkAddressIPv4: 10.1.2.3", self.croft("info", "web").stdout)
        self.assertEqual(json.loads(self.croft("info", "web", "--json").stdout)["statistics"],
                         {"exits": 7})

    def test_shutdown(self):
        worker = self.worker("web", shutdown={"by": "power button"})
        self.assertEqual(self.croft("shutdown", "web").stdout, "")
        self.croft("shutdown", "web", "--reboot", "--force", "--text", "new kernel")
        self.assertEqual(json.loads(self.croft("shutdown", "--json", "web").stdout)["by"],
                         "power button")
        common = {"command": "shutdown", "force": False, "text": ""}
        self.assertEqual(worker.requests[:2], [
            {**common, "action": "power-off"},
            {**common, "action": "reboot", "force": True, "text": "new kernel"}])
        late = self.croft("shutdown", "web", "--wait", "0.1", status=2)
        self.assertIn("croft vm kill", late.stderr)
        self.croft("shutdown", "web", "--reboot", "--wait", "1", status=64)
        self.croft("shutdown", "web", "--reboot", "--hibernate", status=64)

    def test_plain_commands(self):
        worker = self.worker("web")
        for word, command in (("kill", "stop"), ("reset", "reset"), ("pause", "pause"),
                              ("resume", "resume")):
            self.croft(word, "web")
            self.assertEqual(worker.requests[-1], {"command": command})

    def test_request(self):
        worker = self.worker("web", devices={"devices": {"x": 1}})
        answer = json.loads(self.croft("request", "web", '{"command": "devices", "y": [2]}').stdout)
        self.assertEqual(answer, {"ok": True, "devices": {"x": 1}})
        self.assertEqual(worker.requests[-1], {"command": "devices", "y": [2]})
        for wrong in ("devices", '["devices"]', '{"command":'):
            self.croft("request", "web", wrong, status=64)

    def test_drives(self):
        drives = [{"type": "disk", "lun": 0, "path": "/d.vhdx", "format": "vhdx",
                   "read_only": False, "size": 5 << 30},
                  {"type": "dvd", "lun": 3, "path": "", "format": "iso", "read_only": True,
                   "size": 0}]
        worker = self.worker("web", drives={"drives": drives}, **{"add-drive": {"lun": 4}})
        lines = [line.split() for line in self.croft("drives", "web").stdout.splitlines()]
        self.assertEqual(lines[1:], [["0", "disk", "vhdx", "5", "GiB", "write", "/d.vhdx"],
                                     ["3", "dvd", "-", "-", "read-only", "-"]])
        self.assertEqual(json.loads(self.croft("drives", "--json", "web").stdout)["drives"], drives)
        self.assertEqual(self.croft("attach-disk", "web", "d.img,raw,read-only").stdout, "LUN 4\n")
        self.assertEqual(worker.requests[-1]["drive"], {
            "type": "disk", "path": str(pathlib.Path("d.img").absolute()), "format": "raw",
            "read_only": True})
        self.croft("attach-disk", "web", "none", "--dvd", "--lun", "9")
        self.assertEqual(worker.requests[-1]["drive"]["lun"], 9)
        self.assertEqual(worker.requests[-1]["drive"]["path"], "")
        for words, request in (
                (("detach-disk", "web", "4"), {"command": "remove-drive", "lun": 4}),
                (("resize-disk", "web", "0", "8G"),
                 {"command": "resize-drive", "lun": 0, "size": "8G"}),
                (("insert-disc", "web", "3", "/i.iso"),
                 {"command": "change-disc", "lun": 3, "path": "/i.iso"}),
                (("eject-disc", "web", "3"), {"command": "change-disc", "lun": 3, "path": ""})):
            self.assertEqual(self.croft(*words).stdout, "")
            self.assertEqual(worker.requests[-1], request)
        self.croft("detach-disk", "web", "64", status=64)

    def test_nics(self):
        nics = [{"number": 0, "tap": "vm-web", "bridge": "croft0", "mac": "00:15:5d:01:02:03",
                 "mtu": 0, "queues": 2, "connected": True},
                {"number": 2, "tap": "t", "bridge": "", "mac": "02:00:00:00:00:01", "mtu": 0,
                 "queues": 1, "connected": False}]
        worker = self.worker("web", nics={"nics": nics}, **{"add-nic": {"number": 1}})
        lines = [line.split() for line in self.croft("nics", "web").stdout.splitlines()]
        self.assertEqual(lines[1:], [["0", "00:15:5d:01:02:03", "up", "vm-web", "2", "croft0"],
                                     ["2", "02:00:00:00:00:01", "down", "t", "1", "-"]])
        self.assertEqual(json.loads(self.croft("nics", "--json", "web").stdout)["nics"], nics)
        words = "tap=u,bridge=b,mac=02:00:00:00:00:02,mtu=9000,queues=4,number=7,process=own"
        self.assertEqual(self.croft("attach-nic", "web", words).stdout, "number 1\n")
        self.assertEqual(worker.requests[-1]["nic"], {
            "tap": "u", "bridge": "b", "mac": "02:00:00:00:00:02", "mtu": 9000, "queues": 4,
            "number": 7, "connected": True, "process": "own"})
        self.assertEqual(json.loads(self.croft("attach-nic", "--json", "web", "tap=u").stdout),
                         {"name": "web", "number": 1})
        for words, request in (
                (("detach-nic", "web", "2"), {"command": "remove-nic", "number": 2}),
                (("link", "web", "0", "down"), {"command": "link", "number": 0, "up": False}),
                (("link", "web", "2", "up"), {"command": "link", "number": 2, "up": True})):
            self.assertEqual(self.croft(*words).stdout, "")
            self.assertEqual(worker.requests[-1], request)
        for wrong in (("detach-nic", "web", "8"), ("link", "web", "0", "sideways"),
                      ("link", "web", "0"), ("attach-nic",)):
            self.croft(*wrong, status=64)

    def test_refusals(self):
        self.worker("busy", pause={"ok": False, "error": "found it paused, expected it running"})
        self.worker("mad", pause="nonsense")
        self.worker("dying", pause="end")
        for name, words in (("busy", "found it paused"), ("mad", "no JSON"), ("dying", "ended"),
                            ("none", "croft vm list"), ("a/b", "name"), ("x" * 200, "name")):
            with self.subTest(name=name):
                result = self.croft("pause", name, "--json", status=2)
                self.assertIn(words, result.stderr)
                self.assertEqual(len(result.stderr.splitlines()), 1)
                self.assertIn(words, json.loads(result.stdout)["error"])
        self.croft("pause", status=64)
        self.croft("fly", "busy", status=64)

    def test_documents(self):
        """Man page and completion know each option and sub-command, and no other."""
        def options(*words):
            text = self.croft(*words, "--help").stdout
            return set(re.findall(r"(--[\w-]+)", text)), set(
                re.findall(r"^  ([\w-]+) {2,}", text.partition("Subcommands:")[2], re.MULTILINE))

        page = (HERE / "croft-vm.1").read_text().replace("\\-", "-")
        commands = options()[1]
        self.assertLess({"list", "shutdown"}, commands)
        known = set()
        for command in commands:
            self.assertIn(command, page)
            known |= options(command)[0]
            self.assertEqual(self._complete("vm", command, "--"), options(command)[0])
        self.assertEqual(set(re.findall(r"--[\w-]+", page)) | {"--help"}, known)
        self.assertEqual(self._complete("vm", ""), commands | {"-h", "--help"})
        self.assertIn(str(HERE / "croft.bash"), self._complete("vm", "run", str(HERE / "cr")))
        self.worker("web")
        self.assertEqual(self._complete("vm", "info", ""), {"web"})
        self.assertEqual(self._complete("vm", "info", "w"), {"web"})

    def _complete(self, *words):
        program = ('. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _croft; '
                   'printf "%s\\n" "${COMPREPLY[@]}"')
        output = subprocess.run(["bash", "-c", program, str(HERE / "croft.bash"), "croft", *words],
                                capture_output=True, text=True, check=True,
                                env={**os.environ, "CROFT_VMS": str(self.folder)}).stdout
        return set(output.split())


if __name__ == "__main__":
    unittest.main()
