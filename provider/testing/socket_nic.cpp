// SPDX-License-Identifier: Apache-2.0
//
// In place of croft-nic where there is no network: an adapter that nobody is at the other end of.
// The "TAP device" says how it behaves: "refused" can't be opened, "gone" makes the process end
// without a word, "silent" lets it say none.
#include "provider/confinement.hpp"
#include "provider/nic_service.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vsp/network/testing/socket_back_end.hpp"

#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <unistd.h>
#include <utility>

int main(int argc, char** argv) {
    const std::span<char*> words(argv, static_cast<std::size_t>(argc));
    std::map<std::string, std::string> options;
    for (std::size_t i = 1; i + 1 < words.size(); i += 2) {
        options[words[i]] = words[i + 1];
    }
    const int socket = std::atoi(options.at("--socket").c_str());
    croft::provider::confine(socket);
    croft::provider::drop_capabilities();
    const std::string& tap = options.at("--tap");
    if (tap == "refused") {
        croft::vmbus::remote::refuse_service(socket, "TAP device refused: cannot be opened");
        return 1;
    }
    if (tap == "gone") {
        return 7;
    }
    if (tap == "silent") {
        pause();
    }
    croft::vsp::network::testing::SocketBackEnd network(
        static_cast<std::uint16_t>(std::atoi(options.at("--queues").c_str())));
    return croft::provider::serve_nic(croft::vmbus::Descriptor(socket), network,
               {{{2, 0, 0, 0, 0, 1}}, 1500, 1, true, nullptr})
               .empty()
        ? 0
        : 1;
}
