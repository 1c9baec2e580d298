// SPDX-License-Identifier: Apache-2.0
#include "vdev/bus.hpp"

#include "vdev/error.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <mutex>
#include <utility>

namespace croft::vdev {

namespace {

constexpr unsigned port_space = 65536;
constexpr unsigned widest_port_access = 4;

/// The widest power of two up to `limit` bytes.
constexpr unsigned power_of_two_below(unsigned limit) {
    return limit >= 4 ? 4 : limit >= 2 ? 2 : 1;
}

constexpr std::uint64_t ones(unsigned size) {
    return size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (size * 8)) - 1;
}

} // namespace

Claim::Claim(Claim&& other) noexcept
    : bus_(std::exchange(other.bus_, nullptr)),
      id_(std::exchange(other.id_, 0)) {}

Claim& Claim::operator=(Claim&& other) noexcept {
    if (this != &other) {
        release();
        bus_ = std::exchange(other.bus_, nullptr);
        id_ = std::exchange(other.id_, 0);
    }
    return *this;
}

Claim::~Claim() {
    release();
}

void Claim::release() {
    if (Bus* bus = std::exchange(bus_, nullptr)) {
        bus->release(id_);
    }
}

void InterruptLine::set(bool asserted) {
    if (bus_ == nullptr || asserted == asserted_) {
        return;
    }
    asserted_ = asserted;
    bus_->set_line(line_, asserted);
}

Bus::Bus() : port_index_(std::make_unique<std::array<std::uint16_t, port_space>>()) {
    port_index_->fill(0);
}

Bus::~Bus() = default;

Claim Bus::claim_ports(std::string_view owner, std::uint16_t first, unsigned count, unsigned widest,
    PortHandler& handler) {
    const std::unique_lock lock(mutex_);
    if (count == 0 || first + count > port_space) {
        throw DeviceError(fmt::format(
            "{}: found I/O ports {:#x} and {} more, expected a range below 0x10000; change the "
            "device's port in the settings",
            owner, first, count));
    }
    for (unsigned port = first; port < first + count; ++port) {
        if (const PortRange* taken = port_range(port)) {
            throw DeviceError(fmt::format("{}: found I/O port {:#x} held by {}, expected it free; "
                                          "change one of the two devices' ports in the settings",
                owner, port, taken->owner));
        }
    }
    const std::uint64_t id = next_id_++;
    auto place = std::find(ports_.begin(), ports_.end(), nullptr);
    if (place == ports_.end()) {
        place = ports_.insert(ports_.end(), nullptr);
    }
    *place = std::make_unique<PortRange>(
        PortRange{id, std::string(owner), first, count, widest, &handler});
    const auto index = static_cast<std::uint16_t>(place - ports_.begin() + 1);
    std::fill_n(port_index_->begin() + first, count, index);
    return {*this, id};
}

Claim Bus::claim_mmio(
    std::string_view owner, std::uint64_t first, std::uint64_t size, MmioHandler& handler) {
    const std::unique_lock lock(mutex_);
    if (size == 0 || first + (size - 1) < first) {
        throw DeviceError(fmt::format("{}: found {:#x} bytes at guest address {:#x}, expected a "
                                      "range of at least one byte that "
                                      "doesn't wrap; change the device's address in the settings",
            owner, size, first));
    }
    const std::uint64_t last = first + (size - 1);
    for (const MmioRange& range : mmio_) {
        if (first <= range.last && range.first <= last) {
            throw DeviceError(fmt::format(
                "{}: found guest addresses {:#x} to {:#x} held by {}, expected {:#x} to "
                "{:#x} free; change one of the two devices' addresses in the settings",
                owner, range.first, range.last, range.owner, first, last));
        }
    }
    const std::uint64_t id = next_id_++;
    const auto place = std::lower_bound(mmio_.begin(), mmio_.end(), first,
        [](const MmioRange& range, std::uint64_t address) { return range.first < address; });
    mmio_.insert(place, {id, std::string(owner), first, last, &handler});
    return {*this, id};
}

InterruptLine Bus::claim_line(std::string_view owner, unsigned line) {
    const std::unique_lock lock(mutex_);
    if (line >= line_count) {
        throw DeviceError(fmt::format("{}: found interrupt line {}, expected 0 to {}; change the "
                                      "device's interrupt in the settings",
            owner, line, line_count - 1));
    }
    LineOwner& entry = lines_[line];
    if (entry.id != 0) {
        throw DeviceError(fmt::format("{}: found interrupt line {} held by {}, expected it free; "
                                      "change one of the two devices' interrupts in the settings",
            owner, line, entry.owner));
    }
    entry = {next_id_++, std::string(owner)};
    return {*this, line, Claim(*this, entry.id)};
}

void Bus::connect(InterruptController* controller) {
    controller_.store(controller, std::memory_order_release);
}

void Bus::release(std::uint64_t id) {
    const std::unique_lock lock(mutex_);
    for (auto& range : ports_) {
        if (range && range->id == id) {
            std::fill_n(port_index_->begin() + range->first, range->count, std::uint16_t{0});
            range.reset();
            return;
        }
    }
    if (std::erase_if(mmio_, [id](const MmioRange& range) { return range.id == id; }) != 0) {
        return;
    }
    for (LineOwner& line : lines_) {
        if (line.id == id) {
            line = {};
        }
    }
}

void Bus::set_line(unsigned line, bool asserted) {
    if (InterruptController* controller = controller_.load(std::memory_order_acquire)) {
        controller->set_line(line, asserted);
    }
}

const Bus::PortRange* Bus::port_range(unsigned port) const {
    const std::uint16_t index = (*port_index_)[port];
    return index == 0 ? nullptr : ports_[index - 1U].get();
}

const Bus::MmioRange* Bus::mmio_range(std::uint64_t address) const {
    auto place = std::upper_bound(mmio_.begin(), mmio_.end(), address,
        [](std::uint64_t wanted, const MmioRange& range) { return wanted < range.first; });
    if (place == mmio_.begin()) {
        return nullptr;
    }
    --place;
    return address <= place->last ? &*place : nullptr;
}

std::uint32_t Bus::port_read(std::uint16_t port, unsigned size) {
    const std::shared_lock lock(mutex_);
    size = std::min(size, widest_port_access);
    std::uint32_t value = 0;
    for (unsigned done = 0; done < size;) {
        const unsigned at = (port + done) % port_space;
        const PortRange* range = port_range(at);
        unsigned part = 1;
        std::uint32_t piece = 0xff;
        if (range != nullptr) {
            part = power_of_two_below(
                std::min({size - done, range->widest, range->first + range->count - at}));
            piece = range->handler->port_read(static_cast<std::uint16_t>(at), part) &
                static_cast<std::uint32_t>(ones(part));
        }
        value |= piece << (done * 8);
        done += part;
    }
    return value;
}

void Bus::port_write(std::uint16_t port, unsigned size, std::uint32_t value) {
    const std::shared_lock lock(mutex_);
    size = std::min(size, widest_port_access);
    for (unsigned done = 0; done < size;) {
        const unsigned at = (port + done) % port_space;
        const PortRange* range = port_range(at);
        unsigned part = 1;
        if (range != nullptr) {
            part = power_of_two_below(
                std::min({size - done, range->widest, range->first + range->count - at}));
            range->handler->port_write(static_cast<std::uint16_t>(at), part,
                (value >> (done * 8)) & static_cast<std::uint32_t>(ones(part)));
        }
        done += part;
    }
}

bool Bus::is_mmio(std::uint64_t address) const {
    const std::shared_lock lock(mutex_);
    return mmio_range(address) != nullptr;
}

std::uint64_t Bus::mmio_read(std::uint64_t address, unsigned size) {
    const std::shared_lock lock(mutex_);
    const MmioRange* range = mmio_range(address);
    if (range == nullptr || range->last - address < size - 1) {
        return ones(size);
    }
    return range->handler->mmio_read(address - range->first, size) & ones(size);
}

void Bus::mmio_write(std::uint64_t address, unsigned size, std::uint64_t value) {
    const std::shared_lock lock(mutex_);
    const MmioRange* range = mmio_range(address);
    if (range != nullptr && range->last - address >= size - 1) {
        range->handler->mmio_write(address - range->first, size, value & ones(size));
    }
}

} // namespace croft::vdev
