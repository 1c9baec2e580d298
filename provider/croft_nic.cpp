// SPDX-License-Identifier: Apache-2.0
//
// croft-nic: one network adapter of a VM, in a process of its own. croft-worker starts it.
#include "provider/confinement.hpp"
#include "provider/nic_service.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vsp/network/tap.hpp"
#include "worker/settings/mac.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <fmt/format.h>
#include <string>
#include <utility>

namespace {

using croft::vsp::network::Tap;
using croft::vsp::network::TapSettings;

constexpr int failed = 1;

struct Words {
    int socket = -1;
    TapSettings tap;
    std::string mac;
    std::uint32_t mtu = 0;
    std::size_t threads = 1;
    bool unplugged = false;
};

void describe(CLI::App& app, Words& words) {
    app.add_option("--socket", words.socket, "descriptor of a SOCK_SEQPACKET to the worker")
        ->check(CLI::Range(3, 65535))
        ->required();
    app.add_option("--tap", words.tap.name, "TAP device, which is made if there is none")
        ->required();
    app.add_option("--bridge", words.tap.bridge, "bridge that it becomes a port of");
    app.add_option("--mac", words.mac, "the adapter's address")->required();
    app.add_option("--mtu", words.mtu, "of the network (what the device has)");
    app.add_option("--queues", words.tap.queues, "as many as there may be channels (1)");
    app.add_option("--threads", words.threads, "that frames go by (1)")->check(CLI::Range(1, 64));
    app.add_flag("--unplugged", words.unplugged, "the cable is out at first");
}

/// The worker hears why it doesn't begin, and tells its user.
int run(Words words) {
    croft::provider::confine(words.socket);
    croft::vmbus::Descriptor socket(words.socket);
    if (fcntl(words.socket, F_SETFD, FD_CLOEXEC) != 0) {
        fmt::print(stderr,
            "croft-nic: found no descriptor {}, expected a socket; let croft-worker "
            "start it\n",
            words.socket);
        return failed;
    }
    const auto address = croft::worker::parse_mac(words.mac);
    if (!address) {
        croft::vmbus::remote::refuse_service(
            socket.get(), fmt::format("--mac: found \"{}\", expected an address", words.mac));
        return failed;
    }
    words.tap.guest_address = *address;
    if (words.mtu != 0) {
        words.tap.mtu = words.mtu;
    }
    const auto tap = Tap::open(words.tap);
    if (!tap) {
        croft::vmbus::remote::refuse_service(socket.get(), tap.error());
        return failed;
    }
    croft::provider::drop_capabilities();
    const std::string wrong = croft::provider::serve_nic(
        std::move(socket), **tap, {*address, (*tap)->mtu(), words.threads, !words.unplugged, [&] {
                                       return (*tap)->is_up();
                                   }});
    if (!wrong.empty()) {
        fmt::print(stderr, "croft-nic: from the worker: {}\r\n", wrong);
        return failed;
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app("One network adapter of a VM, in a process of its own. croft-worker starts it.",
        "croft-nic");
    Words words;
    describe(app, words);
    try {
        app.parse(argc, argv);
        return run(std::move(words));
    } catch (const CLI::ParseError& error) {
        return app.exit(error);
    } catch (const std::exception& error) {
        fmt::print(stderr, "croft-nic: {}\r\n", error.what());
    }
    return failed;
}
