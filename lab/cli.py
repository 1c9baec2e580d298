# SPDX-License-Identifier: Apache-2.0
"""The command croft-lab."""

import argparse
import sys

from . import showcase
from .errors import LabError
from .host import Host
from .terminal import attach, write_output


def main():
    parser = argparse.ArgumentParser(prog="croft-lab", description="Brings a whole host up under "
                                     "an emulator: hypervisor, root partition, children.")
    commands = parser.add_subparsers(dest="command", required=True)
    shell = commands.add_parser("shell", help="a shell in the root partition")
    add_host_options(shell)
    run = commands.add_parser("run", help="run one command in the root partition; its exit status "
                                          "becomes this one's")
    add_host_options(run)
    run.add_argument("words", nargs="+", metavar="WORD", help="the command and its arguments")
    child = commands.add_parser("child", help="start a child partition with Debian's own kernel "
                                              "and show its console")
    add_host_options(child)
    showcase.add_options(child)
    options = parser.parse_args()
    try:
        if options.command == "shell":
            return run_shell(options)
        if options.command == "run":
            return run_command(options)
        return showcase.main(options, make_host(options))
    except LabError as error:
        print(f"croft-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def add_host_options(parser):
    parser.add_argument("--bare", action="store_true", help="no hypervisor: the root's Linux on "
                                                            "the bare machine")
    parser.add_argument("--processors", type=int, default=2, metavar="N")
    parser.add_argument("--memory", default="4G", metavar="SIZE")
    parser.add_argument("--machine", default="q35", choices=("q35", "pc"))
    parser.add_argument("--hypervisor-option", action="append", default=[], metavar="WORD",
                        help="a word for the hypervisor's command line, as loglevel=5")
    parser.add_argument("--kernel-option", action="append", default=[], metavar="WORD",
                        help="a word for the root kernel's command line")
    parser.add_argument("--qemu", action="append", default=[], metavar="ARGUMENT",
                        help="one more argument for QEMU")
    parser.add_argument("--trace", metavar="ITEMS", help="what QEMU logs, as int,cpu_reset")
    parser.add_argument("--gdb", type=int, metavar="PORT", help="wait for a debugger on this port")
    parser.add_argument("--icount", type=int, metavar="N", help="each instruction takes 2^N ns")
    parser.add_argument("--console", action="store_true", help="show the machine's console too")


def make_host(options, **more):
    def show(line):
        end = "\r\n" if sys.stderr.isatty() else "\n"
        print(line, end=end, file=sys.stderr, flush=True)

    return Host(
        processors=options.processors, memory=options.memory, machine=options.machine,
        hypervisor=not options.bare, hypervisor_options=options.hypervisor_option,
        kernel_options=options.kernel_option, qemu=options.qemu, trace=options.trace,
        gdb=options.gdb, icount=options.icount, on_line=show if options.console else None,
        boot_timeout=86400 if options.gdb else 90, **more)


def run_shell(options):
    with make_host(options) as host:
        print(f"The root's shell; 'exit' powers off. Logs: {host.logs}", file=sys.stderr)
        attach(host, ["bash", "-l"])
        if host.machine.reason is None:
            host.power_off()
    return 0


def run_command(options):
    with make_host(options) as host:
        command = host.start_command(options.words, on_output=write_output)
        command.close_input()
        result = command.wait(None)
        sys.stderr.write(result.error)
        host.power_off()
    return result.status if result.status >= 0 else 128 - result.status
