#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plays croft-worker for vm_run_test.py: the console and control sockets of a VM whose guest is a
word or two on its command line. It says what it was called with beside its console socket."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import sys
import threading


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def serve_control(listener, settings):
    while True:
        client = listener.accept()[0]
        with client, client.makefile("r") as lines:
            for line in lines:
                command = json.loads(line)["command"]
                answer = {"ok": True, "state": "running", "settings": settings}
                client.sendall(json.dumps(answer).encode() + b"\n")
                if command == "stop":
                    os._exit(0)


def serve_console(listener):
    """Until a viewer types "off", "fail" or "die"; answers its word."""
    while True:
        client = listener.accept()[0]
        with client, contextlib.suppress(ConnectionError):
            client.sendall(b"guest: hello\n")
            typed = b""
            while content := client.recv(100):
                typed += content
                client.sendall(b"<" + content + b">")
                for word in (b"off", b"fail", b"die"):
                    if word in typed:
                        return word.decode()
            client.sendall(b"last words\n")


def main():
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    guest = options["--cmdline"]
    if guest == "refuse":
        print("more of it\ncroft-worker: memory: found none, expected some; buy it",
              file=sys.stderr)
        return 1
    console = options["--console"].removeprefix("unix:")
    pathlib.Path(f"{console}.words").write_text(json.dumps(sys.argv[1:]))
    files = [pathlib.Path(options[word]).read_text(errors="replace") if word in options else None
             for word in ("--kernel", "--initrd")]
    pathlib.Path(f"{console}.files").write_text(json.dumps(files))
    consoles = listen(console)
    controls = listen(options["--control"])
    settings = {"serial_ports": [{"connection": options["--console"]}]}
    threading.Thread(target=serve_control, args=(controls, settings), daemon=True).start()
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    end = serve_console(consoles)
    os.unlink(console)
    os.unlink(options["--control"])
    if end == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "fail":
        print("croft-worker: processor 0: found a triple fault", file=sys.stderr)
    return int(end == "fail")


if __name__ == "__main__":
    sys.exit(main())
