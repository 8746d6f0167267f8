#include "supervisor/stranger.hpp"

#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

constexpr auto first_pause = std::chrono::milliseconds(1);
constexpr auto longest_pause = std::chrono::milliseconds(256);  // doubled each time: 0.5 s in all

/// <linux/pidfd.h> of Linux 6.15; Debian's is older. An ioctl's number holds its argument's size.
struct PidfdInfo {
    std::uint64_t mask = 0;
    std::uint64_t cgroup_id = 0;
    std::uint32_t pid = 0, tgid = 0, ppid = 0;
    std::uint32_t ruid = 0, rgid = 0, euid = 0, egid = 0, suid = 0, sgid = 0, fsuid = 0, fsgid = 0;
    std::int32_t exit_code = 0;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr std::uint64_t info_exit = 1 << 3;
constexpr unsigned long get_info = _IOWR(0xFF, 11, PidfdInfo);

ExitStatus status_in(int wait_status) {
    if (WIFEXITED(wait_status)) return {.code = WEXITSTATUS(wait_status)};
    return {.signal = WTERMSIG(wait_status),
            .core_dumped = static_cast<bool>(WCOREDUMP(wait_status))};
}

}  // namespace

std::optional<Stranger> find_again(pid_t pid, std::uint64_t start_time) {
    if (pid <= 1) return std::nullopt;
    // Opened first: what is read then is of this process, or of none.
    const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (pidfd == -1) return std::nullopt;
    if (proc::start_of(pid) != start_time) {
        ::close(pidfd);
        return std::nullopt;
    }
    siginfo_t info{};
    const auto id = static_cast<id_t>(pidfd);
    const bool is_child = ::waitid(P_PIDFD, id, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    return Stranger{.pid = pid,
                    .pidfd = pidfd,
                    .is_child = is_child,
                    .has_ended = !proc::status_of(pid).is_alive()};
}

StrangersEnd::StrangersEnd(asio::any_io_executor executor, int pidfd, Known unknown,
                           std::function<void(ExitStatus)> ended)
    : pidfd_(executor, pidfd),
      again_(std::move(executor)),
      pause_(first_pause),
      unknown_(unknown),
      ended_(std::move(ended)) {
    pidfd_.async_wait(pidfd_.wait_read, [this](const boost::system::error_code& error) {
        if (!error) look();
    });
}

StrangersEnd::~StrangersEnd() { pidfd_.release(); }

void StrangersEnd::look() {
    PidfdInfo info{.mask = info_exit};
    const bool kept = ::ioctl(pidfd_.native_handle(), get_info, &info) == 0;
    if (kept && (info.mask & info_exit)) return ended_(status_in(info.exit_code));
    // ESRCH: it was reaped, and this kernel forgets what it doesn't keep. Other errors: it never
    // keeps anything.
    const bool unreaped = kept;
    if (!unreaped || pause_ > longest_pause) return ended_({.known = unknown_});
    again_.expires_after(pause_);
    pause_ *= 2;
    again_.async_wait([this](const boost::system::error_code& error) {
        if (!error) look();
    });
}

}  // namespace lastcall
