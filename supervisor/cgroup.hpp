#pragma once
#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/await.hpp"

namespace lastcall {

/// A container's own cgroup v2: whatever its processes do about parents, sessions or their
/// environment, they stay in it (cgroups(7); Linux's admin-guide/cgroup-v2).
class Cgroup {
 public:
    /// Makes `name` below the cgroup that we are in. Null where that can't be: no cgroup v2 is
    /// mounted, it is read-only (as in most containers), or isn't ours to write.
    static std::unique_ptr<Cgroup> make(asio::any_io_executor executor, const std::string& name);
    /// The one that an agent before us has made: by its path, or by its name below ours. Null: it
    /// is gone.
    static std::unique_ptr<Cgroup> open(asio::any_io_executor executor, const std::string& path);
    static std::unique_ptr<Cgroup> find(asio::any_io_executor executor, const std::string& name);
    /// Removes it, and what was made below, if nobody is in it.
    ~Cgroup();
    Cgroup(const Cgroup&) = delete;
    Cgroup& operator=(const Cgroup&) = delete;

    const std::string& path() const { return path_; }
    /// For LaunchOptions::cgroup.
    int directory() const { return directory_; }

    /// Whether anybody is alive in it, or below.
    bool is_populated() const;
    /// Those alive in it, and in what they have made below it.
    std::vector<pid_t> members() const;
    /// SIGKILL to all at once, so that no fork escapes. False where the kernel can't (before 5.14).
    bool kill() const;
    /// A frozen process hears nothing.
    void thaw() const;
    /// Returns when the kernel says that it has become empty or populated; it may say so late.
    /// Never once it is removed.
    awaitable<void> changed();
    /// Removes it, and what was made below. Throws std::system_error.
    void remove();

 private:
    Cgroup(asio::any_io_executor executor, std::string path, int directory, int events);

    std::string path_;
    int directory_;
    asio::posix::stream_descriptor events_;
};

}  // namespace lastcall
