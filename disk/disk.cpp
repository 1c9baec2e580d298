// SPDX-License-Identifier: Apache-2.0
#include "disk/disk.hpp"

#include "disk/segments.hpp"
#include "disk/service.hpp"
#include "disk/write_tracker.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

namespace croft::disk {

namespace {

// A device that has gone while it was open has no size any more.
bool is_gone(Store& store) {
    return store.traits().block_device && (!store.remeasure() || store.size() == 0);
}

} // namespace

Disk::Disk(std::unique_ptr<Chain> chain)
    : chain_{std::move(chain)},
      service_{std::make_unique<Service>(*chain_, [this](const Error& error) { tell(error); })} {}

Disk::~Disk() {
    service_.reset();
    if (!closed_)
        static_cast<void>(chain_->close());
}

Geometry Disk::geometry() const {
    const std::lock_guard lock{structure_};
    const ImageInfo& info = chain_->top().info();
    const Store::Traits& traits = chain_->top().store().traits();
    return {.size = chain_->size(),
        .logical_sector_size = info.logical_sector_size,
        .physical_sector_size = info.physical_sector_size,
        .memory_alignment = traits.memory_alignment,
        .discard_granularity = chain_->top().discard_granularity(),
        .read_only = info.read_only};
}

// That something was cancelled is no news.
bool Disk::wants_error(ErrorCode code) noexcept {
    const std::uint32_t kind = 1U << static_cast<unsigned>(code);
    return told_ && code != ErrorCode::none && code != ErrorCode::cancelled &&
        (told_kinds_.fetch_or(kind, std::memory_order_relaxed) & kind) == 0;
}

void Disk::tell(const Error& error) {
    if (wants_error(error.code))
        told_(error);
}

std::unique_ptr<Queue> Disk::open_queue(Ring& ring) {
    return std::make_unique<Queue>(*this, ring);
}

Result<void> Disk::resize(std::uint64_t size) {
    const auto maintenance = Maintenance::begin(*this);
    if (!maintenance)
        return std::unexpected(maintenance.error());
    return chain_->top().resize(size);
}

Result<void> Disk::take_all() {
    const auto maintenance = Maintenance::begin(*this);
    if (!maintenance)
        return std::unexpected(maintenance.error());
    return chain_->top().take_all();
}

std::string Disk::identity() const {
    const std::lock_guard lock{structure_};
    return chain_->top().disk_identity();
}

Result<void> Disk::close() {
    closed_ = true;
    return chain_->close();
}

Result<Disk::Maintenance> Disk::Maintenance::begin(Disk& disk) {
    std::unique_lock lock{disk.maintenance_, std::try_to_lock};
    if (lock.owns_lock())
        return Maintenance{disk, std::move(lock)};
    const std::lock_guard structure{disk.structure_};
    return std::unexpected(Error::of(ErrorCode::in_use, disk.chain_->top().store().name(),
        "the disk is being resized or merged"));
}

Disk::Maintenance::Pause::Pause(Maintenance& maintenance) : disk_{maintenance.disk()} {
    disk_.gate_.close();
    structure_ = std::unique_lock{disk_.structure_};
}

Disk::Maintenance::Pause::~Pause() {
    structure_.unlock();
    disk_.gate_.open();
}

// A piece of a request that is under way: I/O on one extent, a job of the service, or just the news
// that the request is over. Pooled by the queue, since every request has one.
class Queue::Part final : public Service::Job {
public:
    enum class Role : std::uint8_t { io, job, notice };

    explicit Part(Queue& owner)
        : Job{[](Completion& completion, int result) noexcept {
              auto& part = static_cast<Part&>(completion);
              part.queue.part_done(part, result);
          }},
          queue{owner} {}

    Queue& queue;
    Request* request = nullptr;
    Role role = Role::io;
    Extent extent;
    std::uint64_t moved = 0; // bytes of the extent that are read or written
    std::span<const iovec> segments;
    std::vector<iovec> slice;  // when the request's own segments don't fit the extent
    Part* following = nullptr; // in the list of free or of active ones
    Part* preceding = nullptr;
};

Queue::Reopened::Reopened(Queue& owner)
    : Completion{[](Completion& completion, int) noexcept {
          static_cast<Reopened&>(completion).queue.start_waiting();
      }},
      queue{owner} {}

Queue::Queue(Disk& disk, Ring& ring)
    : disk_{disk},
      ring_{ring},
      reopened_{*this},
      lane_{disk.gate_, ring, reopened_} {}

Queue::~Queue() {
    assert(active_ == nullptr && in_flight_ == 0);
    while (free_ != nullptr)
        delete std::exchange(free_, free_->following);
}

Queue::Part& Queue::take_part(Request& request) {
    Part* part = free_ != nullptr ? std::exchange(free_, free_->following) : new Part{*this};
    part->request = &request;
    part->moved = 0;
    part->slice.clear();
    part->preceding = nullptr;
    part->following = active_;
    if (active_ != nullptr)
        active_->preceding = part;
    active_ = part;
    ++request.pending_;
    return *part;
}

void Queue::give_back(Part& part) noexcept {
    (part.preceding != nullptr ? part.preceding->following : active_) = part.following;
    if (part.following != nullptr)
        part.following->preceding = part.preceding;
    part.following = std::exchange(free_, &part);
}

void Queue::submit(Request& request) noexcept {
    ++in_flight_;
    request.status = {};
    request.failed_at.reset();
    request.cancelled_ = request.flushing_ = false;
    if (waiting_ == nullptr && lane_.enter()) {
        start(request);
        return;
    }
    request.next_waiting_ = nullptr;
    (waiting_ != nullptr ? last_waiting_->next_waiting_ : waiting_) = &request;
    last_waiting_ = &request;
}

// The gate may close again in between; then it tells again.
void Queue::start_waiting() noexcept {
    while (waiting_ != nullptr && lane_.enter())
        start(*std::exchange(waiting_, waiting_->next_waiting_));
}

void Queue::start(Request& request) noexcept {
    request.pending_ = 1; // held while the request is being cut up
    request.next_offset_ = request.offset;
    if (request.cancelled_)
        request.status = {ErrorCode::cancelled, ECANCELED};
    const bool moves =
        request.operation == Operation::read || request.operation == Operation::write;
    if (request.operation != Operation::flush && request.status.ok())
        request.status = disk_.chain_->admit(request.offset, request.length);
    if (moves && request.status.ok() && total_length(request.segments) != request.length)
        request.status = {ErrorCode::invalid_argument, 0};
    if (request.operation != Operation::read && request.operation != Operation::flush &&
        request.status.ok() && disk_.chain_->top().info().read_only)
        request.status = {ErrorCode::read_only, 0};
    if (request.status.ok())
        advance(request);
    --request.pending_;
    finish(request, false);
}

void Queue::advance(Request& request) noexcept {
    if (request.operation != Operation::read && request.operation != Operation::write) {
        Part& part = take_part(request);
        part.kind = request.operation == Operation::flush ? Service::Job::Kind::flush
            : request.operation == Operation::discard     ? Service::Job::Kind::discard
                                                          : Service::Job::Kind::write_zeroes;
        part.offset = request.offset;
        part.length = request.length;
        start_job(part);
        return;
    }
    const std::uint64_t end = request.offset + request.length;
    bool more = true;
    while (more && request.next_offset_ < end && !request.cancelled_ && request.status.ok()) {
        const std::uint64_t left = end - request.next_offset_;
        more = request.operation == Operation::read ? advance_read(request, left)
                                                    : advance_write(request, left);
    }
}

// Both answer false when they wait for metadata; the request goes on when that is there.
bool Queue::advance_read(Request& request, std::uint64_t length) {
    auto place = disk_.chain_->find(request.next_offset_, length);
    if (place.image != nullptr && place.extent.where == Extent::Where::absent &&
        place.image->prepare_at_once(place.extent.offset))
        place = disk_.chain_->find(request.next_offset_, length);
    const auto& [image, extent] = place;
    if (image == nullptr) {
        zero_segments(request.segments, extent.offset - request.offset, extent.length);
    } else if (extent.where == Extent::Where::absent) {
        Part& part = take_part(request);
        part.kind = Service::Job::Kind::prepare_read;
        part.image = image;
        part.offset = extent.offset;
        part.length = extent.length;
        start_job(part);
        return false;
    } else {
        start_io(request, *image, extent);
    }
    request.next_offset_ += extent.length;
    return true;
}

bool Queue::advance_write(Request& request, std::uint64_t length) {
    Image& image = disk_.chain_->top();
    const Extent extent = image.reserve(request.next_offset_, length);
    if (extent.where == Extent::Where::absent) {
        Part& part = take_part(request);
        part.kind = Service::Job::Kind::prepare_write;
        part.image = &image;
        part.offset = extent.offset;
        part.length = extent.length;
        start_job(part);
        return false;
    }
    start_io(request, image, extent);
    request.next_offset_ += extent.length;
    return true;
}

void Queue::start_io(Request& request, Image& image, const Extent& extent) {
    Part& part = take_part(request);
    part.role = Part::Role::io;
    part.image = &image;
    part.extent = extent;
    part.segments = request.segments;
    if (extent.length != request.length)
        resume_io(part);
    else if (request.operation == Operation::read)
        image.store().start_read(ring_, extent.store_offset, part.segments, part);
    else
        image.store().start_write(ring_, extent.store_offset, part.segments, part);
}

// Starts the I/O on what is left of an extent.
void Queue::resume_io(Part& part) noexcept {
    const Request& request = *part.request;
    part.slice.clear();
    for_each_piece(request.segments, part.extent.offset - request.offset + part.moved,
        part.extent.length - part.moved,
        [&part](const iovec& piece) { part.slice.push_back(piece); });
    part.segments = part.slice;
    Store& store = part.image->store();
    const std::uint64_t at = part.extent.store_offset + part.moved;
    if (request.operation == Operation::read)
        store.start_read(ring_, at, part.segments, part);
    else
        store.start_write(ring_, at, part.segments, part);
}

void Queue::start_job(Part& part) {
    part.role = Part::Role::job;
    part.ring = &ring_;
    disk_.service_->submit(part);
}

void Queue::part_done(Part& part, int result) noexcept {
    if (part.role == Part::Role::io) {
        io_done(part, result);
        return;
    }
    Request& request = *part.request;
    const bool notice = part.role == Part::Role::notice;
    const bool prepared = part.kind == Service::Job::Kind::prepare_read ||
        part.kind == Service::Job::Kind::prepare_write;
    const Status status = part.job_status;
    const std::optional<std::uint64_t> place = prepared ? std::optional{part.offset} : std::nullopt;
    give_back(part);
    if (!notice && !prepared)
        changed(request, request.offset, request.length);
    if (!notice) {
        fail(request, status, place);
        if (prepared && status.ok())
            advance(request);
    }
    --request.pending_;
    finish(request, true);
}

void Queue::io_done(Part& part, int result) noexcept {
    Request& request = *part.request;
    if (result > 0)
        part.moved += static_cast<std::uint64_t>(result);
    const bool again = result > 0 || result == -EINTR || result == -EAGAIN;
    if (part.moved < part.extent.length && again && !request.cancelled_) {
        resume_io(part);
        return;
    }
    const bool whole = part.moved >= part.extent.length;
    // A file that ends within an extent has lost payload; a write that moves nothing has no room.
    const int nothing_moved = request.operation == Operation::read ? EIO : ENOSPC;
    int error = again ? ECANCELED : result == 0 ? nothing_moved : -result;
    if (!whole && !again && is_gone(part.image->store()))
        error = ENODEV; // the kernel says that there is no room on it
    part.image->finish(part.extent,
        !whole                                     ? Image::Outcome::failed
            : request.operation == Operation::read ? Image::Outcome::was_read
                                                   : Image::Outcome::was_written);
    changed(request, part.extent.offset, part.extent.length);
    const std::uint64_t place = part.extent.offset + part.moved;
    if (!whole)
        tell_io_error(part, result, error);
    give_back(part);
    if (!whole)
        fail(request, Status::from_errno(error), place);
    --request.pending_;
    finish(request, true);
}

void Queue::tell_io_error(const Part& part, int result, int error) {
    const bool reads = part.request->operation == Operation::read;
    const std::string& file = part.image->store().name();
    Error told = reads && result == 0
        ? Error::of(ErrorCode::io, file,
              "read: the file ends here, expected " +
                  std::to_string(part.extent.length - part.moved) + " bytes more")
        : Error::system(file, reads ? "read" : "write", error);
    told.offset = part.extent.store_offset + part.moved;
    disk_.tell(told);
}

// A part of a request is over that may have changed the disk, whether it succeeded or not.
void Queue::changed(const Request& request, std::uint64_t offset, std::uint64_t length) noexcept {
    if (disk_.tracker_ != nullptr && request.operation != Operation::read &&
        request.operation != Operation::flush)
        disk_.tracker_->mark(offset, length);
}

// Parts fail in any order: the first in the request's is what counts of where.
void Queue::fail(Request& request, Status status, std::optional<std::uint64_t> at) noexcept {
    if (status.ok())
        return;
    if (request.status.ok())
        request.status = status;
    if (at && (!request.failed_at || *at < *request.failed_at))
        request.failed_at = at;
}

// Ends the request if nothing of it is under way. From within submit() the caller is told later.
void Queue::finish(Request& request, bool may_call) noexcept {
    if (request.pending_ != 0)
        return;
    const bool moves =
        request.operation == Operation::read || request.operation == Operation::write;
    if (request.cancelled_ && request.status.ok() && moves &&
        request.next_offset_ < request.offset + request.length)
        request.status = {ErrorCode::cancelled, ECANCELED};
    if (request.operation == Operation::write && request.durable && request.status.ok() &&
        !request.flushing_) {
        request.flushing_ = true;
        Part& part = take_part(request);
        part.kind = Service::Job::Kind::flush;
        start_job(part);
        return;
    }
    if (!may_call) {
        Part& part = take_part(request);
        part.role = Part::Role::notice;
        ring_.post(part, 0);
        return;
    }
    --in_flight_;
    lane_.leave();
    request.done(request);
}

void Queue::cancel(Request& request) noexcept {
    request.cancelled_ = true;
    for (Part* part = active_; part != nullptr; part = part->following) {
        if (part->request == &request && part->role == Part::Role::io)
            ring_.cancel(*part);
    }
}

} // namespace croft::disk
