# SPDX-License-Identifier: Apache-2.0
"""This terminal as the terminal of a command in the root."""

import os
import select
import shutil
import signal
import sys
import termios
import tty


def write_output(content):
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def attach(host, words, on_output=write_output):
    """Runs a command of the root on this terminal until it ends; answers its exit status and its
    standard error. Without a terminal its output is shown, and it gets no input."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if not interactive:
        command = host.start_command(words, on_output=on_output)
        command.close_input()
        result = command.wait(None)
        return result.status, result.error

    def size():
        columns, rows = shutil.get_terminal_size()
        return rows, columns

    command = host.start_command(words, terminal=size(), on_output=on_output,
                                 environment={"TERM": os.environ.get("TERM", "linux")})
    before = termios.tcgetattr(sys.stdin)
    resized = signal.signal(signal.SIGWINCH, lambda *_: command.resize(*size()))
    # The end of the command has to wake the wait for input.
    wake, woken = os.pipe()
    command.when_done(lambda: os.write(woken, b"x"))
    try:
        tty.setraw(sys.stdin)
        while command.running:
            ready, _, _ = select.select([sys.stdin, wake], [], [])
            if wake in ready:
                break
            command.write(os.read(sys.stdin.fileno(), 4096))
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, resized)
        os.close(wake)
    result = command.wait(10)
    return result.status, result.error
