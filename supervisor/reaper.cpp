#include "supervisor/reaper.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace lastcall {
namespace {

/// Collects one, if any has ended; false if none has. `childless` is set when there is none at all.
bool collect(siginfo_t& info, bool& childless) {
    info = {};
    childless = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == -1 && errno == ECHILD;
    return info.si_pid != 0;
}

ExitStatus status_in(const siginfo_t& info) {
    if (info.si_code == CLD_EXITED) return {.code = info.si_status};
    return {.signal = info.si_status, .core_dumped = info.si_code == CLD_DUMPED};
}

}  // namespace

Reaped reap_all(pid_t awaited) {
    Reaped reaped;
    for (siginfo_t info; collect(info, reaped.childless); ++reaped.count) {
        if (info.si_pid == awaited) reaped.exit = status_in(info);
    }
    return reaped;
}

bool Reaper::reap() {
    bool any = false, childless = false;
    for (siginfo_t info; collect(info, childless);) {
        any = true;
        const auto expected = ours_.find(info.si_pid);
        if (expected == ours_.end()) continue;
        const auto ended = std::exchange(expected->second, nullptr);
        ours_.erase(expected);
        ended(status_in(info));
    }
    // An empty group's number may be anybody's by the next time.
    if (any) {
        std::erase_if(apart_,
                      [](pid_t group) { return ::kill(-group, 0) == -1 && errno == ESRCH; });
        reaped_.beat();
    }
    return !childless;
}

bool Reaper::is_apart(pid_t pid) const {
    return !apart_.empty() && apart_.contains(::getpgid(pid));
}

}  // namespace lastcall
