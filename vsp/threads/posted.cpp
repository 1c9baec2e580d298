// SPDX-License-Identifier: Apache-2.0
#include "vsp/threads/posted.hpp"

#include <memory>
#include <utility>

namespace croft::vsp {

namespace {

class Posted final : public disk::Completion {
public:
    explicit Posted(std::function<void()> function)
        : Completion([](Completion& completion, int) noexcept {
              const std::unique_ptr<Posted> self(&static_cast<Posted&>(completion));
              self->function_();
          }),
          function_(std::move(function)) {}

private:
    std::function<void()> function_;
};

} // namespace

void post_to(disk::Ring& ring, std::function<void()> function) {
    // It deletes itself when it has run.
    ring.post(*std::make_unique<Posted>(std::move(function)).release(), 0);
}

} // namespace croft::vsp
