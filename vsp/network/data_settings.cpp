// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/data_settings.hpp"

#include "vsp/network/protocol/ndis.hpp"

#include <algorithm>

namespace croft::vsp::network {

Cast cast_of(const MacAddress& destination) {
    if (!destination.is_group()) {
        return Cast::directed;
    }
    return destination.is_broadcast() ? Cast::broadcast : Cast::multicast;
}

bool PacketFilter::wants(const MacAddress& destination) const {
    if ((types & protocol::filter_promiscuous) != 0) {
        return true;
    }
    switch (cast_of(destination)) {
    case Cast::directed:
        return (types & protocol::filter_directed) != 0 && destination == address;
    case Cast::broadcast:
        return (types & protocol::filter_broadcast) != 0;
    case Cast::multicast:
        break;
    }
    return (types & protocol::filter_all_multicast) != 0 ||
        ((types & protocol::filter_multicast) != 0 &&
            std::ranges::find(multicast, destination) != multicast.end());
}

} // namespace croft::vsp::network
