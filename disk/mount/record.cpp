// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/record.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace croft::disk::mount {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Root's are where every run-time state is; a user's where the login made room for them.
std::string folder() {
    if (geteuid() == 0)
        return "/run/croft/disk";
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    if (runtime != nullptr && *runtime == '/')
        return std::string{runtime} + "/croft/disk";
    return fmt::format("/tmp/croft-{}/disk", geteuid());
}

Result<std::string> make_folder() {
    const std::string path = folder();
    std::error_code error;
    fs::create_directories(path, error);
    // In /tmp somebody else may have been first.
    for (const std::string& part : {fs::path{path}.parent_path().string(), path}) {
        struct stat status {};
        if (lstat(part.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
            return std::unexpected(Error::system(part, "make", error ? error.value() : ENOTDIR));
        if (status.st_uid != geteuid())
            return std::unexpected(Error::of(ErrorCode::access, part,
                fmt::format("owner: found user {}, expected {}", status.st_uid, geteuid())));
    }
    chmod(path.c_str(), 0700);
    return path;
}

std::string contents_of(const std::string& lock_path) {
    return lock_path + ".json";
}

// A file of its own, so that who attaches the file systems and who serves them do not write over
// each other's words.
std::string error_of(const std::string& lock_path) {
    return lock_path + ".error";
}

json json_of(const Record& record) {
    json attachments = json::array();
    for (const Attachment& it : record.attachments)
        attachments.push_back({{"partition", it.partition}, {"type", it.type},
            {"directory", it.directory}, {"device", it.device}});
    return {{"process", record.process}, {"file", record.file}, {"directory", record.directory},
        {"read_write", record.read_write}, {"raw", record.raw},
        {"attachments", std::move(attachments)}};
}

std::optional<Record> read_file(const std::string& path) {
    std::ifstream file{path};
    const json object = json::parse(file, nullptr, false);
    try {
        Record record;
        object.at("process").get_to(record.process);
        object.at("file").get_to(record.file);
        object.at("directory").get_to(record.directory);
        object.at("read_write").get_to(record.read_write);
        object.at("raw").get_to(record.raw);
        for (const json& it : object.at("attachments"))
            record.attachments.push_back(
                {it.at("partition"), it.at("type"), it.at("directory"), it.at("device")});
        std::ifstream error{error_of(path.substr(0, path.rfind(".json")))};
        record.error.assign(std::istreambuf_iterator<char>{error}, {});
        return record;
    } catch (const json::exception&) {
        return std::nullopt; // not one of ours
    }
}

std::string lock_path(pid_t process) {
    return fmt::format("{}/{}", folder(), process);
}

// Readers see the old text or the new one.
Result<void> replace_file(const std::string& path, const std::string& text) {
    const std::string fresh = path + ".new";
    std::ofstream file{fresh};
    file << text;
    file.close();
    if (!file || rename(fresh.c_str(), path.c_str()) != 0)
        return std::unexpected(Error::system(path, "write", errno));
    return {};
}

void remove_files(const std::string& lock_path) {
    for (const std::string& path : {contents_of(lock_path), error_of(lock_path), lock_path})
        unlink(path.c_str());
}

} // namespace

Result<OwnRecord> OwnRecord::create(const Record& record) {
    const auto path = make_folder();
    if (!path)
        return std::unexpected(path.error());
    OwnRecord made;
    made.path_ = lock_path(record.process);
    made.lock_ = Descriptor{::open(made.path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!made.lock_.valid() || flock(made.lock_.get(), LOCK_EX | LOCK_NB) != 0)
        return std::unexpected(Error::system(made.path_, "create", errno));
    unlink(error_of(made.path_).c_str()); // of an earlier process with this number
    CROFT_DISK_TRY(mount::update(record));
    return made;
}

Result<void> update(const Record& record) {
    return replace_file(contents_of(lock_path(record.process)),
        json_of(record).dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

Result<void> OwnRecord::set_error(const std::string& text) const {
    return replace_file(error_of(path_), text);
}

void OwnRecord::remove() {
    remove_files(path_);
}

std::optional<Record> read_record(pid_t process) {
    return read_file(contents_of(lock_path(process)));
}

std::vector<Record> read_records() {
    std::vector<Record> records;
    std::error_code error;
    for (fs::directory_iterator it{folder(), error}; !error && it != fs::directory_iterator{};
         it.increment(error)) {
        if (it->path().extension() != ".json")
            continue;
        auto record = read_file(it->path());
        if (!record || contents_of(lock_path(record->process)) != it->path())
            continue;
        const Descriptor lock{::open(lock_path(record->process).c_str(), O_RDONLY | O_CLOEXEC)};
        record->alive = lock.valid() && flock(lock.get(), LOCK_SH | LOCK_NB) != 0;
        records.push_back(*std::move(record));
    }
    std::ranges::sort(records, {}, &Record::process);
    return records;
}

Result<std::optional<Record>> wait_for_end(const Record& record) {
    const std::string path = lock_path(record.process);
    const Descriptor lock{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (lock.valid() && flock(lock.get(), LOCK_SH) != 0)
        return std::unexpected(Error::of(ErrorCode::interrupted, record.file,
            fmt::format("interrupted; process {} goes on closing it", record.process)));
    auto left = read_file(contents_of(path));
    if (left)
        left->alive = false;
    return left;
}

void forget(const Record& record) {
    remove_files(lock_path(record.process));
}

} // namespace croft::disk::mount
