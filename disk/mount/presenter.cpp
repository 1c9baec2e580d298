// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/presenter.hpp"

#include "disk/holders.hpp"
#include "disk/mount/attach.hpp"
#include "disk/open.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <mutex>
#include <nlohmann/json.hpp>
#include <ranges>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace croft::disk::mount {

namespace {

using nlohmann::json;

constexpr std::size_t message_max = 16U << 10U;

void send_message(int socket, const json& message) {
    const std::string text = message.dump(-1, ' ', false, json::error_handler_t::replace);
    send(socket, text.data(), std::min(text.size(), message_max), MSG_NOSIGNAL);
}

// Nothing at the end of the conversation, or when a signal stopped the wait.
std::string receive(int socket) {
    std::string text(message_max, '\0');
    const ssize_t got = recv(socket, text.data(), text.size(), 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return text;
}

// The serving process.
class Server {
public:
    Server(Record record, Layout layout, Descriptor socket, Descriptor fuse)
        : record_{std::move(record)},
          layout_{std::move(layout)},
          socket_{std::move(socket)},
          fuse_{std::move(fuse)} {}

    [[noreturn]] void run() {
        settle();
        const auto outcome = present();
        if (!outcome)
            send_message(socket_.get(),
                {{"code", static_cast<int>(outcome.error().code)}, {"file", outcome.error().file},
                    {"what", outcome.error().text()}});
        _exit(outcome ? 0 : 1);
    }

private:
    void settle() const {
        setsid();
        for (const int signal : {SIGINT, SIGHUP, SIGPIPE})
            ::signal(signal, SIG_IGN);
        sigset_t ending;
        sigemptyset(&ending);
        sigaddset(&ending, SIGTERM);
        sigprocmask(SIG_BLOCK, &ending, nullptr);
        if (chdir("/") != 0)
            return;
        const int null = ::open("/dev/null", O_RDWR);
        for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
            dup2(null, standard);
        // Nor does it hold on to anything that its caller happened to have open.
        const auto first = static_cast<unsigned>(socket_.get());
        const auto second = static_cast<unsigned>(fuse_.get());
        const unsigned low = std::min(first, second);
        const unsigned high = std::max(first, second); // the largest there is, without a FUSE
        close_range(3, low - 1, 0);
        if (low + 1 < high)
            close_range(low + 1, high - 1, 0);
        if (fuse_.valid())
            close_range(high + 1, ~0U, 0);
        // The kernel writes out its memory through this process: it must not wait for that in
        // turn. Needs privileges, and works without most of the time.
        prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    }

    Result<void> present() {
        auto chain =
            open_chain(record_.file, {.write = record_.read_write, .format = record_.format});
        if (!chain)
            return std::unexpected(std::move(chain).error());
        record_.process = getpid();
        auto own = OwnRecord::create(record_);
        if (!own)
            return std::unexpected(std::move(own).error());
        own_ = *std::move(own);
        Export shown{**chain, layout_,
            {.released =
                    [this] {
                        if (armed_)
                            end();
                    },
                .failed =
                    [this](const Error& error) {
                        write_failed(error);
                    }}};
        if (auto outcome = mounted(shown); !outcome) {
            own_.remove();
            static_cast<void>((*chain)->close());
            return outcome;
        }
        std::thread{[this] {
            wait_for_signal();
        }}.detach();
        std::thread arming{[this, &shown] {
            while (!receive(socket_.get()).empty()) {
            }
            arm(shown);
        }};
        auto served = shown.serve();
        ended_ = true;
        shutdown(socket_.get(), SHUT_RDWR);
        arming.join();
        auto closed = (*chain)->close();
        chain->reset();
        for (const auto& outcome : {served, closed}) {
            if (!outcome)
                keep_in_mind(words_of(outcome.error()));
        }
        const std::lock_guard lock{mutex_};
        if (lost_.empty())
            own_.remove();
        return {};
    }

    std::string words_of(Error error) const {
        if (error.file == record_.file)
            error.file.clear();
        return error.text();
    }

    // Whoever writes to the raw files hears of it at once. Of a file system's data its writer may
    // have been told that all is well.
    void write_failed(const Error& error) {
        if (!record_.raw || record_.directory.empty())
            keep_in_mind(words_of(error));
    }

    // The first of what went wrong: the rest follows from it, or would have nothing new to say.
    void keep_in_mind(const std::string& what) {
        const std::lock_guard lock{mutex_};
        if (!lost_.empty())
            return;
        lost_ = what;
        static_cast<void>(own_.set_error(what)); // the caller has nobody to tell
    }

    // Root's caller mounts, and tells; others have it done here.
    Result<void> mounted(Export& shown) {
        if (!fuse_.valid())
            CROFT_DISK_TRY(shown.mount(record_.file, record_.directory));
        send_message(socket_.get(), {{"process", record_.process}});
        if (!fuse_.valid())
            return {};
        if (receive(socket_.get()).empty())
            return std::unexpected(
                Error::of(ErrorCode::cancelled, record_.file, "nobody mounted it"));
        return shown.adopt(std::move(fuse_));
    }

    // At the end of the session, or when the machine goes down: what is above has to be written
    // through this process, so it unmounts that before it goes.
    void wait_for_signal() {
        sigset_t ending;
        sigemptyset(&ending);
        sigaddset(&ending, SIGTERM);
        int signal = 0;
        while (sigwait(&ending, &signal) == 0) {
            const auto record = read_record(record_.process);
            if (!record || record->directory.empty())
                continue; // it is private to a process, and goes with that
            for (const Attachment& it : std::views::reverse(record->attachments)) {
                if (auto flushed = flush_file_system(it.directory); !flushed)
                    keep_in_mind(flushed.error().text());
                umount2(it.directory.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
            }
            end();
        }
    }

    // The caller has mounted what there is to mount, or died of it: the end of the last file system
    // is the end from now on, and it may have been before.
    void arm(const Export& shown) {
        if (record_.raw)
            return;
        armed_ = true;
        if (shown.idle() && !ended_)
            end();
    }

    // Whatever still lies over the export is not ours to remove.
    void end() const {
        const Mount top = top_mount(record_.directory);
        if (top.type != fuse_type || top.source != record_.file)
            return;
        if (geteuid() == 0)
            umount2(record_.directory.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
        else
            static_cast<void>(unmount_one(record_.directory, true));
    }

    Record record_;
    Layout layout_;
    Descriptor socket_;
    Descriptor fuse_;
    OwnRecord own_;
    std::atomic<bool> armed_{false};
    std::atomic<bool> ended_{false};
    std::mutex mutex_;
    std::string lost_; // guarded by it
};

Result<Descriptor> open_fuse() {
    Descriptor fuse{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
    if (!fuse.valid())
        return std::unexpected(Error::system("/dev/fuse", "open", errno));
    return fuse;
}

// fusermount3 unmounts what its caller has mounted.
Result<void> unmount_unprivileged(const std::string& directory, bool detach) {
    const pid_t process = fork();
    if (process == 0) {
        const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDERR_FILENO);
        execlp(
            "fusermount3", "fusermount3", detach ? "-uz" : "-u", "--", directory.c_str(), nullptr);
        _exit(127);
    }
    int status = 0;
    while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
    }
    if (process > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return {};
    return std::unexpected(Error::of(ErrorCode::in_use, directory,
        "fusermount3 could not unmount it; expected that nobody uses it"));
}

} // namespace

Result<Presenter> Presenter::start(Record wanted, const Layout& layout) {
    Presenter made;
    if (geteuid() == 0) {
        auto fuse = open_fuse();
        if (!fuse)
            return std::unexpected(std::move(fuse).error());
        made.fuse_ = *std::move(fuse);
    }
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return std::unexpected(Error::system(wanted.file, "make a pair of sockets", errno));
    made.socket_ = Descriptor{ends[0]};
    Descriptor theirs{ends[1]};
    const pid_t process = fork();
    if (process < 0)
        return std::unexpected(Error::system(wanted.file, "start a process", errno));
    if (process == 0) {
        made.socket_ = Descriptor{};
        Server{std::move(wanted), layout, std::move(theirs), std::move(made.fuse_)}.run();
    }
    theirs = Descriptor{};
    const json answer = json::parse(receive(made.socket_.get()), nullptr, false);
    if (answer.is_object() && answer.contains("process")) {
        made.record_ = std::move(wanted);
        made.record_.process = process;
        return made;
    }
    if (answer.is_object() && answer.contains("what")) {
        const auto file = answer["file"].get<std::string>();
        auto what = answer["what"].get<std::string>();
        if (what.starts_with(file + ": "))
            what.erase(0, file.size() + 2);
        return std::unexpected(
            Error::of(static_cast<ErrorCode>(answer["code"].get<int>()), file, std::move(what)));
    }
    return std::unexpected(
        Error::of(ErrorCode::interrupted, wanted.file, "interrupted before the disk was open"));
}

Result<void> Presenter::mount_on(const std::string& directory) {
    if (!fuse_.valid())
        return {}; // the other process has mounted it
    const unsigned long flags =
        MS_NOSUID | MS_NODEV | (record_.read_write ? 0UL : static_cast<unsigned long>(MS_RDONLY));
    const std::string words =
        fmt::format("fd={},rootmode=40000,user_id={},group_id={},allow_other,default_permissions",
            fuse_.get(), getuid(), getgid());
    if (::mount(record_.file.c_str(), directory.c_str(), fuse_type, flags, words.c_str()) != 0)
        return std::unexpected(Error::system(directory, "mount on it", errno));
    fuse_ = Descriptor{};
    send_message(socket_.get(), {{"mounted", true}});
    return {};
}

Result<void> flush_file_system(const std::string& directory) {
    const Descriptor folder{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!folder.valid())
        return std::unexpected(Error::system(directory, "open", errno));
    if (syncfs(folder.get()) != 0)
        return std::unexpected(Error::system(directory, "flush", errno));
    return {};
}

// Who passes by (a lookup of a path, a look into /proc) has a mount in use for a moment, and shows
// nowhere.
Result<void> unmount_one(const std::string& directory, bool detach) {
    constexpr auto pause = std::chrono::milliseconds{20};
    constexpr unsigned tries = 100;
    if (geteuid() != 0)
        return unmount_unprivileged(directory, detach);
    const Mount top = top_mount(directory);
    for (unsigned count = 1;; ++count) {
        if (umount2(directory.c_str(), UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)) == 0)
            return {};
        if (errno != EBUSY)
            return std::unexpected(Error::system(directory, "unmount", errno));
        std::string user = mount_user(top.device);
        if (user.empty())
            user = loop_device_on(top.device, {});
        if (user.empty() && count < tries) {
            std::this_thread::sleep_for(pause);
            continue;
        }
        return std::unexpected(Error::of(ErrorCode::in_use, directory,
            "in use by " +
                (user.empty() ? std::string{"something that /proc does not show"} : user)));
    }
}

} // namespace croft::disk::mount
