#include "supervisor/reaper.hpp"

#include <sys/wait.h>

#include <cerrno>
#include <utility>

namespace lastcall {

bool Reaper::reap() {
    bool any = false, childless = false;
    for (;;) {
        siginfo_t info{};
        childless = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == -1 && errno == ECHILD;
        if (info.si_pid == 0) break;
        any = true;
        const auto expected = ours_.find(info.si_pid);
        if (expected == ours_.end()) continue;
        const auto ended = std::exchange(expected->second, nullptr);
        ours_.erase(expected);
        ended(info.si_code == CLD_EXITED ? ExitStatus{.code = info.si_status}
                                         : ExitStatus{.signal = info.si_status,
                                                      .core_dumped = info.si_code == CLD_DUMPED});
    }
    if (any) reaped_.beat();
    return !childless;
}

}  // namespace lastcall
