// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/steering/steering.hpp"

#include <cstring>
#include <linux/bpf.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace croft::vsp::network::steering {

namespace {

constexpr std::string_view name = "croft_steering";

vmbus::Descriptor bpf(bpf_cmd command, bpf_attr& attributes) {
    return vmbus::Descriptor(
        static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof(attributes))));
}

vmbus::Descriptor make_map() {
    bpf_attr attributes{};
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = sizeof(std::uint32_t);
    attributes.value_size = sizeof(Rules);
    attributes.max_entries = 1;
    attributes.map_flags = BPF_F_MMAPABLE;
    name.copy(attributes.map_name, sizeof(attributes.map_name) - 1);
    return bpf(BPF_MAP_CREATE, attributes);
}

vmbus::Descriptor load_program(int map) {
    const std::vector<bpf_insn> code = make_program(map);
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attributes.insn_cnt = static_cast<std::uint32_t>(code.size());
    attributes.insns = reinterpret_cast<std::uintptr_t>(code.data());
    attributes.license = reinterpret_cast<std::uintptr_t>("Apache-2.0");
    name.copy(attributes.prog_name, sizeof(attributes.prog_name) - 1);
    return bpf(BPF_PROG_LOAD, attributes);
}

} // namespace

std::unique_ptr<Steering> Steering::make() {
    vmbus::Descriptor map = make_map();
    if (map.get() < 0) {
        return nullptr;
    }
    vmbus::Descriptor program = load_program(map.get());
    if (program.get() < 0) {
        return nullptr;
    }
    void* const rules =
        ::mmap(nullptr, sizeof(Rules), PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0);
    if (rules == MAP_FAILED) {
        return nullptr;
    }
    return std::unique_ptr<Steering>(
        new Steering(std::move(map), std::move(program), *static_cast<Rules*>(rules)));
}

Steering::Steering(vmbus::Descriptor map, vmbus::Descriptor program, Rules& rules)
    : map_(std::move(map)),
      program_(std::move(program)),
      rules_(rules) {}

Steering::~Steering() {
    ::munmap(&rules_, sizeof(Rules));
}

void Steering::set(const ReceiveScaling& scaling, std::span<const std::uint8_t> queues) {
    const auto queue_of = [&](std::size_t channel) {
        return channel < queues.size() ? queues[channel] : std::uint8_t{0};
    };
    for (std::size_t i = 0; i < rules_.queues.size(); ++i) {
        rules_.queues.at(i) =
            queue_of(scaling.table.empty() ? 0 : scaling.table[i % scaling.table.size()]);
    }
    rules_.other_queue = queue_of(0);
    rules_.hashed = scaling.hashed;
    fill(rules_.toeplitz, scaling.key);
}

} // namespace croft::vsp::network::steering
