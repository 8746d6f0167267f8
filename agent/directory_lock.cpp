#include "agent/directory_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

namespace lastcall {
namespace {

/// Nothing is wrong with the path, only with the disk.
bool is_of_the_disk(const std::error_code& error) {
    return error == std::errc::read_only_file_system || error == std::errc::no_space_on_device ||
           error == std::errc::io_error || error.value() == EDQUOT;
}

bool same_file(int descriptor, const std::string& path) {
    struct stat ours = {}, there = {};
    return ::fstat(descriptor, &ours) == 0 && ::stat(path.c_str(), &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

void close(int& descriptor) {
    if (descriptor != -1) ::close(std::exchange(descriptor, -1));
}

}  // namespace

DirectoryLock::DirectoryLock(std::string directory, int inherited)
    : directory_(std::move(directory)) {
    make();
    try {
        if (!goes_on(inherited)) lock();
    } catch (...) {
        close(file_);
        close(place_);
        throw;
    }
}

DirectoryLock::~DirectoryLock() {
    close(file_);
    close(place_);
}

void DirectoryLock::make() {
    std::error_code failure;
    std::filesystem::create_directories(directory_ + "/logs", failure);
    if (!failure || is_of_the_disk(failure)) return;
    // One that is there can be used, though nothing can be made in it.
    const bool forbidden = failure == std::errc::permission_denied;
    if (forbidden && std::filesystem::is_directory(directory_, failure)) return;
    if (forbidden) failure = std::make_error_code(std::errc::permission_denied);
    throw std::runtime_error(
        fmt::format("cannot make the data directory '{}': {}", directory_, failure.message()));
}

/// The directory may have been removed under us, or named anew.
bool DirectoryLock::goes_on(int inherited) {
    if (inherited == -1) return false;
    ::fcntl(inherited, F_SETFD, FD_CLOEXEC);
    is_file_ = same_file(inherited, directory_ + "/lock");
    const bool is_it = is_file_ || same_file(inherited, directory_ + "/journal.db") ||
                       same_file(inherited, directory_);
    place_ = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (is_it && place_ != -1 && ::flock(inherited, LOCK_EX | LOCK_NB) == 0) {
        file_ = inherited;
        return true;
    }
    ::close(inherited);
    close(place_);
    return false;
}

void DirectoryLock::lock() {
    place_ = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place_ == -1) {
        if (errno == ENOENT) return;  // nor could it be made
        throw std::system_error(errno, std::generic_category(),
                                fmt::format("cannot open '{}'", directory_));
    }
    file_ = ::openat(place_, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (file_ == -1) file_ = ::openat(place_, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    is_file_ = file_ != -1;
    if (!is_file_) return lock_without_file();
    // Whoever came when no file could be made has locked the journal.
    const int journal = ::openat(place_, "journal.db", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const bool taken =
        journal != -1 && ::flock(journal, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK;
    if (journal != -1) ::close(journal);
    if (taken || ::flock(file_, LOCK_EX | LOCK_NB) == -1) refuse();
    const std::string pid = fmt::format("{}\n", ::getpid());
    if (::ftruncate(file_, 0) == -1 || ::write(file_, pid.data(), pid.size()) == -1) {
        return;  // only a courtesy to whoever comes next
    }
}

void DirectoryLock::lock_without_file() {
    file_ = ::openat(place_, "journal.db", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file_ == -1) file_ = ::fcntl(place_, F_DUPFD_CLOEXEC, 0);
    if (::flock(file_, LOCK_EX | LOCK_NB) == -1) refuse();
}

void DirectoryLock::refuse() const {
    throw std::runtime_error(
        fmt::format("cannot use the data directory '{}': another agent{} has it; stop that one, or "
                    "name another directory with ECS_DATADIR",
                    directory_, owner()));
}

void DirectoryLock::renew() {
    if (is_file_ && same_file(place_, directory_) && same_file(file_, directory_ + "/lock")) return;
    close(file_);
    close(place_);
    make();
    lock();
}

std::string DirectoryLock::owner() const {
    char text[24] = "";
    const auto length = !is_file_ ? 0 : ::pread(file_, text, sizeof text - 1, 0);
    if (length <= 1) return "";
    return fmt::format(" (pid {})", std::string_view(text, static_cast<std::size_t>(length - 1)));
}

}  // namespace lastcall
