#include "agent/plain_init.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/idle_memory.hpp"
#include "agent/signals.hpp"
#include "supervisor/oom_kills.hpp"
#include "supervisor/reaper.hpp"

namespace lastcall {
namespace {

constexpr int settled = 200;  // ms: who dies sooner isn't kept waiting for this
constexpr int code_of_a_killed_child = 128 + SIGKILL;

/// True when one is pending that isn't SIGCHLD: that one only tells us to look.
bool any_for_us() {
    sigset_t pending;
    ::sigpending(&pending);
    ::sigdelset(&pending, SIGCHLD);
    return ::sigisemptyset(&pending) == 0;
}

void take_sigchld() {
    sigset_t only;
    ::sigemptyset(&only);
    ::sigaddset(&only, SIGCHLD);
    const timespec at_once{};
    ::sigtimedwait(&only, nullptr, &at_once);
}

/// Whoever waits after us has to look once more.
PlainWait hand_over(PlainWait waited) {
    ::kill(::getpid(), SIGCHLD);
    return waited;
}

}  // namespace

PlainWait wait_plainly(pid_t command) {
    PlainWait waited;
    const sigset_t all = all_signals();
    const int signals = ::signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals == -1) return waited;
    OomKills oom;
    if (::getpid() == 1) oom.begin({}, true);
    int timeout = settled;
    for (;;) {
        pollfd ready{signals, POLLIN, 0};
        if (::poll(&ready, 1, timeout) == 0) {
            if (::getpid() != 1) oom.begin();
            release_program_pages();
            timeout = -1;
            continue;
        }
        if (any_for_us()) break;
        take_sigchld();
        const Reaped reaped = reap_all(command);
        if (reaped.exit) {
            waited.exit = reaped.exit;
            const bool by_kill =
                reaped.exit->signal == SIGKILL || reaped.exit->code == code_of_a_killed_child;
            waited.exit->out_of_memory = by_kill && oom.any();
            waited.over = reaped.childless && !by_kill;
            if (!waited.over) hand_over(waited);
            break;
        }
        if (reaped.count == 0) {  // it was stopped or continued
            hand_over(waited);
            break;
        }
    }
    ::close(signals);
    return waited;
}

}  // namespace lastcall
