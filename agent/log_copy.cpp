#include "agent/log_copy.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

namespace lastcall {
namespace {

/// What a record of the journal may have to wait for.
constexpr std::size_t block = 256 * 1024;

/// How often a writer may be ahead of us when his log is to be truncated.
constexpr int most_looks = 1000;

std::system_error failure(const char* what) { return {errno, std::generic_category(), what}; }

class File {
 public:
    explicit File(int descriptor, const char* what) : descriptor_(descriptor) {
        if (descriptor == -1) throw failure(what);
    }
    ~File() { ::close(descriptor_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int get() const { return descriptor_; }
    std::uint64_t size() const {
        struct stat status = {};
        if (::fstat(descriptor_, &status) == -1) throw failure("look at it");
        return static_cast<std::uint64_t>(status.st_size);
    }

 private:
    int descriptor_;
};

}  // namespace

/// The file is complete under its new name before anything is cut off: whenever we die, each line
/// is in one of the two, some in both.
class LogCopies::Copy {
 public:
    Copy(int place, std::string name)
        : place_(place),
          name_(std::move(name)),
          from_(::openat(place, name_.c_str(),
                         O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY),
                "open it") {
        struct stat status = {};
        if (::fstat(from_.get(), &status) == -1 || !S_ISREG(status.st_mode)) {
            throw std::runtime_error("it is no regular file");
        }
        // A dead agent may have left one.
        ::unlinkat(place, unfinished().c_str(), 0);
        to_.emplace(
            ::openat(place, unfinished().c_str(),
                     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, status.st_mode & 0777),
            "make its copy");
    }
    ~Copy() {
        if (!named_) ::unlinkat(place_, unfinished().c_str(), 0);
    }
    Copy(const Copy&) = delete;
    Copy& operator=(const Copy&) = delete;

    /// False: it is done.
    bool step() {
        if (copy_block() == block) return true;
        if (!named_) {
            if (::renameat(place_, unfinished().c_str(), place_, (name_ + ".1").c_str()) == -1) {
                throw failure("replace the older one");
            }
            named_ = true;
            return true;  // what came meanwhile is copied too
        }
        // From a look that finds nothing new to the truncation whatever is written is lost: it is
        // next to nothing. Who writes faster than we copy is cut off in the end all the same.
        for (int looks = 0; looks < most_looks && from_.size() != copied_; ++looks) copy_block();
        if (::ftruncate(from_.get(), 0) == -1) throw failure("truncate it");
        return false;
    }

 private:
    std::string unfinished() const { return name_ + ".1.unfinished"; }

    std::size_t copy_block() {
        std::size_t done = 0;
        while (done < block) {
            const ssize_t read =
                ::pread(from_.get(), buffer_, std::min(sizeof buffer_, block - done),
                        static_cast<off_t>(copied_));
            if (read == -1 && errno == EINTR) continue;
            if (read == -1) throw failure("read it");
            if (read == 0) break;
            write({buffer_, static_cast<std::size_t>(read)});
            done += static_cast<std::size_t>(read);
            copied_ += static_cast<std::uint64_t>(read);
        }
        return done;
    }

    void write(std::string_view text) {
        while (!text.empty()) {
            const ssize_t written = ::write(to_->get(), text.data(), text.size());
            if (written == -1 && errno == EINTR) continue;
            if (written == -1) throw failure("copy it");
            text.remove_prefix(static_cast<std::size_t>(written));
        }
    }

    int place_;
    std::string name_;
    File from_;
    std::optional<File> to_;
    std::uint64_t copied_ = 0;
    bool named_ = false;
    char buffer_[32 * 1024];
};

LogCopies::LogCopies(std::string directory, std::uint64_t cap, Complaint complain)
    : directory_(std::move(directory)), cap_(cap), complain_(std::move(complain)) {}

LogCopies::~LogCopies() {
    copy_.reset();
    if (place_ != -1) ::close(place_);
}

bool LogCopies::step() {
    std::string name;
    try {
        if (!looked_) {
            looked_ = true;
            look();
        } else if (copy_) {
            name = current_;
            if (!copy_->step()) copy_.reset();
        } else if (!long_ones_.empty()) {
            name = current_ = std::move(long_ones_.extract(long_ones_.begin()).value());
            copy_ = std::make_unique<Copy>(place_, name);
        }
    } catch (const std::exception& error) {
        copy_.reset();
        complain_(name.empty() ? directory_ : directory_ + "/" + name, error.what());
    }
    return copy_ || !long_ones_.empty();
}

void LogCopies::look() {
    place_ = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (place_ == -1) throw failure("open it");
    DIR* const entries = ::fdopendir(::dup(place_));
    if (!entries) throw failure("read it");
    while (const dirent* entry = ::readdir(entries)) {
        if (!std::string_view(entry->d_name).ends_with(".log")) continue;
        struct stat status = {};
        if (::fstatat(place_, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == -1) continue;
        if (!S_ISREG(status.st_mode)) {
            complain_(directory_ + "/" + entry->d_name, "it is no regular file");
        } else if (static_cast<std::uint64_t>(status.st_size) > cap_) {
            long_ones_.insert(entry->d_name);
        }
    }
    ::closedir(entries);
}

}  // namespace lastcall
