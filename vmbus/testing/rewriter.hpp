// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace croft::vmbus::testing {

/// Changes bytes of the guest's memory as fast as it can, as another of its processors may.
class Rewriter {
public:
    using Bytes = std::vector<std::uint8_t>;

    /// The bytes from `target` on become those of one of `contents` or the other, all of them or
    /// the last ones. All have the same size.
    Rewriter(std::uint8_t* target, std::vector<Bytes> contents)
        : thread_([this, target, contents = std::move(contents)] {
              for (std::mt19937_64 random(7); !quit_;) {
                  const Bytes& chosen = contents[random() % contents.size()];
                  for (std::size_t i = random() % 2 * random() % chosen.size(); i < chosen.size();
                       ++i) {
                      __atomic_store_n(target + i, chosen[i], __ATOMIC_RELAXED);
                  }
              }
          }) {}
    ~Rewriter() {
        quit_ = true;
        thread_.join();
    }
    Rewriter(const Rewriter&) = delete;
    Rewriter& operator=(const Rewriter&) = delete;

private:
    std::atomic<bool> quit_ = false;
    std::thread thread_;
};

} // namespace croft::vmbus::testing
