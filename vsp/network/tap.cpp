// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/tap.hpp"

#include "vsp/network/frame.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <utility>

namespace croft::vsp::network {

namespace {

using Done = std::expected<void, std::string>;

ifreq request_for(const std::string& name) {
    ifreq request{};
    std::copy_n(name.begin(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1), request.ifr_name);
    return request;
}

/// What interfaces are asked and told by.
vmbus::Descriptor control_socket() {
    return vmbus::Descriptor(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

std::unexpected<std::string> failed(
    const std::string& name, std::string_view action, std::string_view advice) {
    return std::unexpected(
        fmt::format("TAP device {}: {}: {}; {}", name, action, std::strerror(errno), advice));
}

constexpr std::string_view need_rights =
    "run with the right to change the network (CAP_NET_ADMIN), or make the device beforehand: "
    "ip tuntap add NAME mode tap multi_queue vnet_hdr user USER";

/// One more queue of the device, which is made if there is none.
int open_queue(const std::string& name, bool multi_queue) {
    const int file = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) {
        return -1;
    }
    ifreq request = request_for(name);
    request.ifr_flags = static_cast<short>(
        IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi_queue ? IFF_MULTI_QUEUE : 0));
    int header_size = sizeof(FrameHeader);
    if (::ioctl(file, TUNSETIFF, &request) != 0 ||
        ::ioctl(file, TUNSETVNETHDRSZ, &header_size) != 0) {
        const int error = errno;
        ::close(file);
        errno = error;
        return -1;
    }
    return file;
}

bool set_carrier(int file, bool carrier) {
    unsigned value = carrier ? 1 : 0;
    return ::ioctl(file, TUNSETCARRIER, &value) == 0;
}

bool is_interface_up(const std::string& name) {
    ifreq request = request_for(name);
    return ::ioctl(control_socket().get(), SIOCGIFFLAGS, &request) == 0 &&
        (request.ifr_flags & IFF_UP) != 0;
}

std::optional<std::uint32_t> mtu_of(const std::string& name) {
    ifreq request = request_for(name);
    return ::ioctl(control_socket().get(), SIOCGIFMTU, &request) == 0
        ? std::optional(static_cast<std::uint32_t>(request.ifr_mtu))
        : std::nullopt;
}

bool set_mtu(const std::string& name, std::uint32_t mtu) {
    ifreq request = request_for(name);
    request.ifr_mtu = static_cast<int>(mtu);
    return ::ioctl(control_socket().get(), SIOCSIFMTU, &request) == 0;
}

/// A bridge takes the lowest address of its ports: this one is never it.
void set_address(const std::string& name, const MacAddress& guest) {
    ifreq request = request_for(name);
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::memcpy(request.ifr_hwaddr.sa_data, guest.bytes.data(), guest.bytes.size());
    request.ifr_hwaddr.sa_data[0] = static_cast<char>(0xfe);
    // Without it the kernel's own choice stays, and works as well.
    (void)::ioctl(control_socket().get(), SIOCSIFHWADDR, &request);
}

bool join_bridge(const std::string& name, const std::string& bridge) {
    ifreq request = request_for(bridge);
    request.ifr_ifindex = static_cast<int>(if_nametoindex(name.c_str()));
    return ::ioctl(control_socket().get(), SIOCBRADDIF, &request) == 0 || errno == EBUSY;
}

bool bring_up(const std::string& name) {
    ifreq request = request_for(name);
    const vmbus::Descriptor socket = control_socket();
    if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) {
        return false;
    }
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    return ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0;
}

} // namespace

bool Tap::is_up() const {
    std::array<char, IF_NAMESIZE> name{};
    return if_indextoname(index_, name.data()) != nullptr && is_interface_up(name.data());
}

std::expected<std::unique_ptr<Tap>, std::string> Tap::open(const TapSettings& settings) {
    if (settings.name.empty() || settings.name.size() >= IFNAMSIZ) {
        return std::unexpected(fmt::format("TAP device '{}': found a name of {} letters, expected "
                                           "1 to {}; give another",
            settings.name, settings.name.size(), IFNAMSIZ - 1));
    }
    std::unique_ptr<Tap> made(new Tap(settings.name));
    const bool is_new = if_nametoindex(settings.name.c_str()) == 0;
    if (Done done = made->attach(settings.queues); !done) {
        return std::unexpected(done.error());
    }
    if (Done done = made->configure(settings, is_new); !done) {
        return std::unexpected(done.error());
    }
    return made;
}

Done Tap::attach(std::uint16_t queues) {
    for (std::uint16_t index = 0; index < queues; ++index) {
        int file = open_queue(name_, true);
        if (file < 0 && index == 0 && errno == EINVAL) {
            // One that was made for a single queue.
            file = open_queue(name_, false);
            queues = 1;
        }
        if (file < 0) {
            return failed(name_, "cannot be opened",
                errno == EBUSY ? "end whoever uses it, or give another" : need_rights);
        }
        queues_.push_back(std::make_unique<FileQueue>(vmbus::Descriptor(file),
            [this, index, file](bool attached) { return attach_queue(index, file, attached); }));
        attached_.push_back(index);
        // Frames come when the guest takes them.
        (void)attach_queue(index, file, false);
    }
    index_ = if_nametoindex(name_.c_str());
    if (queues > 1) {
        steering_ = steering::Steering::make();
    }
    return {};
}

bool Tap::attach_queue(std::uint16_t index, int file, bool attached) {
    const std::lock_guard lock(mutex_);
    ifreq request{};
    request.ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    if (::ioctl(file, TUNSETQUEUE, &request) != 0) {
        return false;
    }
    count_queue(index, attached);
    if (attached && plugged_) {
        // It can't be given while there is no queue.
        (void)set_carrier(file, true);
    }
    steer();
    return true;
}

/// As the device does it: one that goes leaves its number to the last.
void Tap::count_queue(std::uint16_t index, bool attached) {
    if (attached) {
        attached_.push_back(index);
        return;
    }
    const auto place = std::ranges::find(attached_, index);
    if (place != attached_.end()) {
        *place = attached_.back();
        attached_.pop_back();
    }
}

/// Has the device spread frames as the guest wants, with the queues that are attached now.
void Tap::steer() {
    if (steering_ == nullptr) {
        return;
    }
    if (scaling_.enabled) {
        std::vector<std::uint8_t> numbers(queues_.size());
        for (std::size_t number = 0; number < attached_.size(); ++number) {
            numbers[attached_[number]] = static_cast<std::uint8_t>(number);
        }
        steering_->set(scaling_, numbers);
    }
    if (scaling_.enabled != steered_ && !attached_.empty()) {
        int program = scaling_.enabled ? steering_->program() : -1;
        const int file = queues_[attached_.front()]->descriptor();
        if (::ioctl(file, TUNSETSTEERINGEBPF, &program) == 0) {
            steered_ = scaling_.enabled;
        }
    }
}

void Tap::set_scaling(const ReceiveScaling& scaling) {
    const std::lock_guard lock(mutex_);
    scaling_ = scaling;
    steer();
}

Done Tap::configure(const TapSettings& settings, bool is_new) {
    if (is_new) {
        set_address(name_, settings.guest_address);
    }
    const std::optional<std::uint32_t> found = mtu_of(name_);
    mtu_ = settings.mtu.value_or(found.value_or(default_mtu));
    if (mtu_ != found && !set_mtu(name_, mtu_)) {
        return failed(name_, fmt::format("cannot get the MTU {}", mtu_),
            "give one that the device takes, and run with the right to set it");
    }
    mtu_ = std::clamp(mtu_, smallest_mtu, largest_mtu);
    if (!settings.bridge.empty() && !join_bridge(name_, settings.bridge)) {
        return failed(name_, fmt::format("cannot become a port of the bridge {}", settings.bridge),
            "give a bridge that there is, and run with the right to change it");
    }
    if (!is_interface_up(name_) && !bring_up(name_)) {
        return failed(name_, "cannot be brought up", "bring it up, or run with the right to do so");
    }
    return {};
}

void Tap::set_coalescing(Coalescing coalescing) {
    unsigned long offloads = TUN_F_CSUM;
    if (coalescing.ipv4) {
        offloads |= TUN_F_TSO4 | TUN_F_TSO_ECN;
    }
    if (coalescing.ipv6) {
        offloads |= TUN_F_TSO6 | TUN_F_TSO_ECN;
    }
    // By any queue that is attached; one that isn't has no device to set it of.
    for (const auto& queue : queues_) {
        if (::ioctl(queue->descriptor(), TUNSETOFFLOAD, offloads) == 0) {
            return;
        }
    }
}

void Tap::set_plugged(bool plugged) {
    const std::lock_guard lock(mutex_);
    plugged_ = plugged;
    for (const auto& queue : queues_) {
        if (set_carrier(queue->descriptor(), plugged)) {
            return;
        }
    }
}

} // namespace croft::vsp::network
