#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

namespace lastcall {

/// One look at all logs of a directory, and the copies that it takes, cut in steps for the disk's
/// thread.
class LogCopies {
 public:
    /// Hears what can't be done: the file's path and why.
    using Complaint = std::function<void(const std::string& path, const std::string& why)>;
    LogCopies(std::string directory, std::uint64_t cap, Complaint complain);
    ~LogCopies();
    LogCopies(const LogCopies&) = delete;
    LogCopies& operator=(const LogCopies&) = delete;

    /// A short piece of the work; false: all is done. Never throws.
    bool step();

 private:
    class Copy;
    void look();

    std::string directory_;
    std::uint64_t cap_;
    Complaint complain_;
    int place_ = -1;
    bool looked_ = false;
    std::set<std::string> long_ones_;
    std::string current_;  ///< whose copy is being made
    std::unique_ptr<Copy> copy_;
};

}  // namespace lastcall
