# SPDX-License-Identifier: Apache-2.0
"""The same Debian guest on the same emulated machine: on Undercroft, and on KVM with QEMU."""

import math
import re
import time

from lab import Host, instructions, peer, statistics
from lab.errors import LabError
from lab.guest import DebianGuest, boot_line, in_cache
from lab.guest_shell import GuestShell
from root.recipe import guest as guest_recipe

MEMORY = "512M"

# Of the machine and of the guest. QEMU as an emulator of AMD-V keeps the number of an interrupt
# that KVM injects (cpu->exception_index, in helper_vmrun), and delivers it once more if its loop is
# left before the guest is: into a guest that has interrupts off as well. With a second processor it
# leaves the loop all the time, and guests of KVM hang as they boot; with one that takes an
# interrupt of the host, which leaves the guest too. (With -icount it also leaves it whenever so
# many instructions have been.) Undercroft injects no interrupts.
PROCESSORS = 1

# Interrupts of its timer that a guest with work has in a second, at least: Debian's kernel has 250.
TICKS = 150

# Counts them in the guest while that computes, for half a second: those of the local APIC's timer,
# and of Hyper-V's synthetic one.
COUNT_TICKS = (
    "ticks() { awk '/LOC:|HVS:/ { n += $2 } END { print n }' /proc/interrupts; }; "
    "now() { read up rest </proc/uptime; echo ${up%.*}${up#*.}; }; "
    "before=$(ticks); end=$(($(now) + 50)); while [ $(now) -lt $end ]; do :; done; "
    "echo $((($(ticks) - before) * 2))")

# The bridge of the guest's network adapter. No traffic leaves the host.
BRIDGE = "bench0"
HOST_ADDRESS = "192.168.77.1"
GUEST_ADDRESS = "192.168.77.2"
MAC = "52:54:00:77:00:02"
ROUND_TRIP_PORT = 7777


class Side:
    """A host with one guest that has a disk for loads, and the other ends of its network. With
    `counting` its instructions are counted, which makes it slower."""

    name = ""
    parts = ("disk", "network")
    options = {}

    def __init__(self, disk, counting=False):
        self.counting = counting
        self.patience = 2 if counting else 1
        self.host = Host(processors=PROCESSORS, memory="4G", disk=disk,
                         qemu=peer.tools_disk() + (instructions.arguments() if counting else []),
                         boot_timeout=240, name=f"bench-io-{self.name}", **self.options)
        self.guest = None
        self.process = None

    def __enter__(self):
        self.host.__enter__()
        try:
            self._prepare()
            self.guest = self.start_guest()
            self._settle()
            self._check_clock()
            self._find_disk()
            self._set_network_up()
        except BaseException as error:
            self.host.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.guest.run("sync")
            self.host.power_off()
        self.host.__exit__(kind, value, trace)

    def _prepare(self):
        self.host.run(f"""{peer.MOUNT_TOOLS}
            ip link add {BRIDGE} type bridge
            ip address add {HOST_ADDRESS}/24 dev {BRIDGE}
            ip link set {BRIDGE} up""", check=True)

    def start_guest(self):
        """Answers it when it is up, and leaves its process' number in `process`."""
        raise NotImplementedError

    def tool(self, *words):
        """A command line of a program of the tools."""
        return ["chroot", peer.TOOLS, *words]

    def _settle(self):
        """Waits until the guest has nothing left to do of its start."""
        self.guest.run("systemctl is-system-running --wait >/run/said; true",
                       timeout=300 * self.patience)

    def _check_clock(self):
        """On some hosts no guest of KVM gets an interrupt from its local APIC's timer, for whatever
        reason. One that computes goes on without, and saves the time of its ticks."""
        ticks = int(self.guest.run(COUNT_TICKS, timeout=90 * self.patience))
        if ticks < TICKS:
            raise LabError(f"the guest has had {ticks} interrupts of its timer in a second with "
                           f"work; expected {TICKS}: its timer has stopped")

    def _find_disk(self):
        """The disk for loads is the one that isn't the system's."""
        self.disk = self.guest.run(
            "root=$(basename $(findmnt -no SOURCE /)); for disk in /sys/block/[sv]d?; do "
            "[ ${disk##*/} = $root ] || echo ${disk##*/}; done").strip()

    def _set_network_up(self):
        self.guest.run(f"ip address add {GUEST_ADDRESS}/24 dev eth0; ip link set eth0 up")
        self.guest.run(f"ping -c 1 -w 20 {HOST_ADDRESS} >/dev/null")

    # What a host has spent since it booted, all of it in seconds or counts:
    #   time    of its clock
    #   worker  processor time of what serves the guest
    #   guest's switches, host's switches  how often they have been left for the hypervisor
    #   instructions  of all there is, if they are counted
    # Beside them what it has done: disk, I/O of the disk for loads; bytes and packets of the
    # guest's network adapter, both ways. A guest under load would take its time to tell.

    def spent(self):
        tap = "/sys/class/net/bench-tap/statistics"
        text = self.host.run(
            f"cat /proc/timer_list /sys/block/vda/stat {tap}/[rt]x_bytes {tap}/[rt]x_packets "
            f"{self._files()}", check=True).output
        disk = re.search(r"^ *\d+ +\d+ +\d+ +\d+ .*$", text, re.MULTILINE)
        io = disk[0].split()
        net = [int(line) for line in text[disk.end():].split("\n")[1:5]]
        now = int(re.search(r"^now at (\d+)", text, re.MULTILINE)[1]) / 1e9
        idle = sum(map(int, re.findall(r"^ *\.(?:idle|iowait)_sleeptime *: (\d+)", text,
                                       re.MULTILINE))) / 1e9
        # user, system and guest time; Linux counts the last as user time too
        tasks = re.findall(r"^\d+ \(.*\)( \w .*)$", text, re.MULTILINE)
        times = [[int(task.split()[field]) / 100 for field in (11, 12, 40)] for task in tasks]
        worker = sum(user + system - guest for user, system, guest in times)
        counted = {"instructions": instructions.count(self.host)} if self.counting else {}
        return {"time": now, **counted, "disk": int(io[0]) + int(io[4]),
                "bytes": net[0] + net[1], "packets": net[2] + net[3],
                **self._spent(text, now - idle, worker)}

    def _files(self):
        """Names of what else is read to know it."""
        raise NotImplementedError

    def _spent(self, text, busy, worker):
        raise NotImplementedError


class Undercroft(Side):
    name = "undercroft"

    def start_guest(self):
        guest = DebianGuest(self.host, words=[
            "--processors", str(PROCESSORS), "--memory", MEMORY, "--disk", "/dev/vda,raw",
            "--nic", f"tap=bench-tap,bridge={BRIDGE},mac={MAC}"])
        guest.start(timeout=240 * self.patience)
        self.process = self.host.run(["pidof", "croft-worker"], check=True).output.strip()
        self._child, = statistics.children(self.host)
        return guest

    def _files(self):
        places = ("partition/1/vp/0", f"partition/{self._child}/vp/0")
        return " ".join([f"/proc/{self.process}/stat",
                         *(f"{statistics.HOME}/{place}/stats" for place in places)])

    def _spent(self, text, busy, worker):
        def numbers(name):
            return [int(value) for value in
                    re.findall(rf"^{name}\s*: (\d+)$", text, re.MULTILINE)]

        root, child = (sum(numbers(name)[place] for name in statistics.EXITS) for place in (0, 1))
        return {"worker": worker, "guest's switches": child, "host's switches": root,
                "believed": busy, "root": numbers("VpTotalRunTime")[0] / 1e7}

    @staticmethod
    def correct(spent):
        """The root's kernel takes for a task's own what the hypervisor has given to the child while
        that task was running. How much that was, the hypervisor knows of all tasks together."""
        believed, root = spent.pop("believed"), spent.pop("root")
        spent["worker"] *= min(1, root / believed)
        return spent

    def memory(self):
        """Bytes of the worker that are its own."""
        text = self.host.run(["cat", f"/proc/{self.process}/smaps_rollup"], check=True).output
        sizes = {line.split(":")[0]: int(line.split()[1]) << 10
                 for line in text.splitlines()[1:]}
        return sizes["Private_Clean"] + sizes["Private_Dirty"] - sizes.get("Pss_Shmem", 0)


class QemuGuest(DebianGuest):
    """The same guest, with virtio devices, started by QEMU in the tools' file system."""

    def __init__(self, host, vhost):  # pylint: disable=super-init-not-called
        self.host = host
        self._vhost = vhost

    def start_machine(self, *more, own_kernel=False):
        system = guest_recipe.build()

        def there(name):
            return in_cache(system / name).replace("/cache", "/mnt", 1)

        self.console = self.host.start_command(peer.qemu(
            "-M", "q35,accel=kvm,kernel-irqchip=on", "-cpu", "host",
            "-smp", str(PROCESSORS), "-m", MEMORY, "-nodefaults", "-display", "none",
            "-serial", "stdio",
            "-pidfile", "/tmp/qemu.pid",
            "-kernel", there("vmlinuz"), "-initrd", there("initrd.img"),
            "-append", f"{boot_line()} net.ifnames=0",
            "-object", "iothread,id=io",
            "-drive", f"file={there('disk.img')},format=raw,snapshot=on,if=none,id=system",
            "-device", "virtio-blk-pci,drive=system",
            "-drive", "file=/dev/vda,format=raw,cache=none,aio=io_uring,if=none,id=load",
            "-device", f"virtio-blk-pci,drive=load,iothread=io,num-queues={PROCESSORS}",
            "-netdev", "tap,id=net,ifname=bench-tap,script=no,downscript=no,"
                       f"vhost={'on' if self._vhost else 'off'}",
            "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="))
        self._shell = GuestShell(self.console, lost="KVM internal error")


class Kvm(Side):
    name = "kvm"
    words = ""
    vhost = False

    def __init__(self, disk, counting=False):
        self.options = peer.kvm()
        super().__init__(disk, counting)

    def start_guest(self):
        self.host.run(f"""set -e
            mount --rbind /cache {peer.TOOLS}/mnt
            ip tuntap add bench-tap mode tap vnet_hdr
            ip link set bench-tap master {BRIDGE} up""", check=True)
        if self.counting:
            # It looks for work in a loop before it sleeps: instructions that mean nothing.
            self.host.run("echo 0 >/sys/module/kvm/parameters/halt_poll_ns", check=True)
        self.host.run(peer.WAIT_FOR_CLOCK, check=True)
        guest = QemuGuest(self.host, self.vhost)
        guest.start(timeout=240 * self.patience)
        self.process = self.host.run(["cat", "/tmp/qemu.pid"], check=True).output.strip()
        self._thread = self.host.run(f"pidof vhost-{self.process}; true").output.strip()
        return guest

    def _files(self):
        tasks = [self.process, self._thread] if self._thread else [self.process]
        return " ".join([*(f"/proc/{task}/stat" for task in tasks),
                         "/sys/kernel/debug/kvm/exits"])

    def _spent(self, text, busy, worker):
        return {"worker": worker, "host's switches": 0,
                "guest's switches": int(text.strip().rpartition("\n")[2])}

    @staticmethod
    def correct(spent):
        return spent


class KvmVhost(Kvm):
    name = "kvm-vhost"
    words = "beside vhost"
    vhost = True
    parts = ("network",)


WORK = ("disk", "bytes", "packets")

# Seconds for what lies around what is measured.
MORE = 3


def load(side, command, count, enough, seconds):
    """Runs a load in the guest; answers what it says in the end, and what one of `count` (of WORK)
    has cost in its midst: programs take longer to start than some loads run. It is in its midst
    when `enough` have been counted."""
    start = side.spent()
    side.guest.run("rm -f /run/done; "
                   f"( ( {command} >/run/said 2>&1; echo $? >/run/done ) & )",
                   timeout=90 * side.patience)
    limit = time.monotonic() + 90 * side.patience
    while (before := side.spent())[count] < start[count] + enough and time.monotonic() < limit:
        pass
    side.host.run(["sleep", str(seconds)], timeout=300 * side.patience)
    after = side.spent()
    side.guest.run("until [ -e /run/done ]; do sleep 0.1; done", timeout=200 * side.patience)
    said = side.guest.run("cat /run/said; ( exit $(cat /run/done) )", timeout=90 * side.patience)
    spent = side.correct({name: value - before[name] for name, value in after.items()})
    if spent[count] == 0:
        raise LabError(f"nothing has come of '{command}' in {seconds} s; it said {said[-500:]!r}")
    return said, {name: value / spent[count] for name, value in spent.items()
                  if name not in WORK}


def fio(side, words, count, enough, seconds):
    """Runs fio; answers I/O and KiB per second, of reads and writes together, and the costs of what
    is counted."""
    said, costs = load(side, "fio --name=job --output-format=terse --terse-version=3 "
                       f"--time_based --runtime={round((seconds + MORE) * 1000)}ms {words} "
                       "| cut -d ';' -f 1,7,8,48,49", count, enough, seconds)
    fields = next(line for line in said.splitlines() if line.startswith("3;")).split(";")
    return int(fields[2]) + int(fields[4]), int(fields[1]) + int(fields[3]), costs


def iperf3(side, words, count, enough, seconds):
    """Runs iperf3, and its server in the host; answers numbers of its report by their names, and
    the costs of what is counted."""
    server = side.host.start_command(side.tool("iperf3", "-s", "-1", "--forceflush"))
    server.wait_for("Server listening")
    said, costs = load(
        side, f"iperf3 -c {HOST_ADDRESS} -J -t {math.ceil(seconds + MORE)} {words} | "
        "tr -d ' \\t\\n' | grep -o '\"end\":.*' | grep -o '\"sum[a-z_]*\":{[^}]*}'", count, enough,
        seconds)
    server.wait(60)
    sums = {name: {key: float(value) for key, value in
                   re.findall(r'"(\w+)":(-?[0-9.e+-]+)', values)}
            for name, values in re.findall(r'"(sum\w*)":\{([^}]*)\}', said)}
    return sums, costs


def round_trips(side, count, enough, seconds):
    """Round trips of 64 bytes in one TCP connection, the guest asking: how many a second, and what
    one costs."""
    words = (f"--ioengine=net --protocol=tcp --port={ROUND_TRIP_PORT} --pingpong=1 --bs=64 "
             "--size=1g")
    server = side.host.start_command(side.tool(
        "fio", "--name=job", *words.split(), "--listen", "--rw=read"))
    side.host.run(f"until grep -q ':{ROUND_TRIP_PORT:04X} 00000000:0000 0A' /proc/net/tcp; do "
                  "usleep 50000; done", check=True)
    rate, _, costs = fio(side, f"{words} --hostname={HOST_ADDRESS} --rw=write", count, enough,
                         seconds)
    server.signal()
    server.wait(60)
    return rate, costs
