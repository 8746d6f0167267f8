#pragma once
#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <optional>

#include "supervisor/task.hpp"

namespace lastcall {

/// A process that may be somebody else's child: one that an agent before us launched.
struct Stranger {
    pid_t pid = 0;
    int pidfd = -1;          ///< close-on-exec, the caller's to close
    bool is_child = false;   ///< ours after all: we are the same process, with another program
    bool has_ended = false;  ///< and wasn't reaped yet
};

/// The process that has this id and was started then (proc::start_of); nothing if it has ended and
/// been reaped. Who has the number now is never touched.
std::optional<Stranger> find_again(pid_t pid, std::uint64_t start_time);

/// Waits for the end of a process that isn't our child, by its pidfd.
///
/// Its exit code is known where the kernel keeps it for who has the pidfd open (PIDFD_GET_INFO with
/// PIDFD_INFO_EXIT, Linux 6.15), from the moment when its parent reaps it; half a second is waited
/// for that.
class StrangersEnd {
 public:
    /// `ended` is called once, never from here; with `unknown` if nobody can tell how.
    StrangersEnd(asio::any_io_executor executor, int pidfd, Known unknown,
                 std::function<void(ExitStatus)> ended);

    ~StrangersEnd();  ///< `pidfd` is still the caller's to close
    StrangersEnd(const StrangersEnd&) = delete;
    StrangersEnd& operator=(const StrangersEnd&) = delete;

 private:
    void look();

    asio::posix::stream_descriptor pidfd_;
    asio::steady_timer again_;
    asio::steady_timer::duration pause_;
    Known unknown_;
    std::function<void(ExitStatus)> ended_;
};

}  // namespace lastcall
