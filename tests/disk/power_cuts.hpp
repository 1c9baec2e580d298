// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/stored.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace croft::disk::test {

// Files whose writes and flushes are recorded from now on, to cut the power at every moment of it.
class PowerCuts {
public:
    explicit PowerCuts(MemoryFolder& folder, std::vector<std::string> names)
        : begun_{events_so_far()} {
        for (const std::string& name : names) {
            const auto contents = folder.file(name);
            contents->record = true;
            files_.emplace(name, File{contents, contents->bytes, {}});
        }
    }

    // Calls verify(folder, when) for at least so many states of the files: after each event, what
    // was not flushed being kept, lost, or kept in part and torn.
    template <class Verify>
    void run(std::size_t states_wanted, Verify&& verify) {
        std::vector<std::pair<File*, const Event*>> events;
        for (auto& [name, file] : files_) {
            file.contents->record = false;
            for (const Event& event : file.contents->events)
                events.emplace_back(&file, &event);
        }
        std::ranges::sort(events, {}, [](const auto& pair) { return pair.second->when; });
        std::mt19937_64 random{13};
        std::size_t states = 0;
        const std::size_t each = states_wanted / (events.size() + 1) + 1;
        for (std::size_t cut = 0; cut <= events.size(); ++cut) {
            const std::uint64_t when = cut == 0 ? begun_ : events[cut - 1].second->when + 1;
            for (std::size_t variant = 0; variant < each; ++variant, ++states) {
                MemoryFolder after;
                for (const auto& [name, file] : files_) {
                    after.file(name)->bytes = file.flushed;
                    for (const Event* event : file.pending) {
                        if (variant == 0)
                            apply(*event, after.file(name)->bytes);
                        else if (random() % 3 != 0)
                            apply_torn(*event, after.file(name)->bytes, random);
                    }
                }
                verify(after, when);
                ASSERT_FALSE(testing::Test::HasFatalFailure())
                    << "cut after " << cut << " of " << events.size() << " events, variant "
                    << variant;
            }
            if (cut < events.size())
                take(*events[cut].first, *events[cut].second);
        }
        testing::Test::RecordProperty("states", static_cast<int>(states));
        std::cout << states << " states\n";
        EXPECT_GE(states, states_wanted);
    }

private:
    struct File {
        std::shared_ptr<MemoryStore::Contents> contents;
        SparseBytes flushed;
        std::vector<const Event*> pending;
    };

    static void take(File& file, const Event& event) {
        file.pending.push_back(&event);
        if (event.kind != Event::Kind::flush)
            return;
        for (const Event* pending : file.pending)
            apply(*pending, file.flushed);
        file.pending.clear();
    }

    // Applies an event that was not flushed: whole, or with some of its sectors missing.
    static void apply_torn(const Event& event, SparseBytes& bytes, std::mt19937_64& random) {
        if (event.kind != Event::Kind::write || random() % 2 == 0) {
            apply(event, bytes);
            return;
        }
        for (std::size_t at = 0; at < event.bytes.size(); at += 512) {
            const std::size_t length = std::min<std::size_t>(512, event.bytes.size() - at);
            if (random() % 2 == 0)
                bytes.write(event.offset + at, std::span{event.bytes}.subspan(at, length));
        }
    }

    std::uint64_t begun_;
    std::map<std::string, File> files_;
};

// What a disk may hold after a power cut, if its user writes one thing after another: what the last
// flush before it covers, or anything that was begun later.
class Acknowledged {
public:
    using Tag = std::uint64_t; // what a sector holds, repeated

    Acknowledged(std::vector<Tag> sectors, std::uint64_t sector_size)
        : sector_size_{sector_size},
          sectors_{std::move(sectors)} {
        flushed();
    }

    std::uint64_t sectors() const { return sectors_.size(); }
    Tag new_tag() { return ++last_tag_ << 16U; }

    void begin(std::uint64_t sector, std::uint64_t count, Tag tag) {
        writes_.push_back({events_so_far(), sector, count, tag});
        std::fill_n(sectors_.begin() + static_cast<std::ptrdiff_t>(sector), count, tag);
    }
    void flushed() { flushes_.push_back({events_so_far(), writes_.size(), sectors_}); }

    std::vector<std::byte> bytes_of(Tag tag, std::uint64_t count) const {
        std::vector<std::byte> bytes(count * sector_size_);
        for (std::size_t at = 0; at < bytes.size(); at += sizeof tag)
            save(bytes, at, tag);
        return bytes;
    }

    void verify(Chain& chain, std::uint64_t when) const {
        std::vector<std::byte> back(sectors_.size() * sector_size_);
        const auto read = chain.read(0, back);
        ASSERT_TRUE(read) << read.error().text();
        const auto flush = std::ranges::upper_bound(flushes_, when, {}, &Flushed::done) - 1;
        std::vector<std::set<Tag>> later(sectors_.size());
        for (std::size_t i = flush->writes; i < writes_.size() && writes_[i].begun < when; ++i) {
            for (std::uint64_t k = 0; k < writes_[i].count; ++k)
                later[writes_[i].sector + k].insert(writes_[i].tag);
        }
        for (std::uint64_t i = 0; i < sectors_.size(); ++i) {
            const auto tag = load<Tag>(back, i * sector_size_);
            ASSERT_TRUE(tag == flush->sectors[i] || later[i].contains(tag))
                << "sector " << i << ": found " << tag << ", expected " << flush->sectors[i];
        }
    }

private:
    struct Write {
        std::uint64_t begun; // events before it
        std::uint64_t sector;
        std::uint64_t count;
        Tag tag;
    };
    struct Flushed {
        std::uint64_t done; // events when it was acknowledged
        std::size_t writes;
        std::vector<Tag> sectors;
    };

    std::uint64_t sector_size_;
    std::vector<Tag> sectors_;
    std::vector<Write> writes_;
    std::vector<Flushed> flushes_;
    Tag last_tag_ = 0;
};

} // namespace croft::disk::test
