#include "agent/last_resort.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "agent/signals.hpp"
#include "supervisor/reaper.hpp"

namespace lastcall {
namespace {

constexpr int own_failure = 125;

void say(std::string_view why) {
    char line[512];
    const auto end = fmt::format_to_n(
        line, sizeof line,
        "agent: {:.300}: from now on signals are only passed on to the command\n", why);
    pollfd ready{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&ready, 1, 0) != 1) return;  // nobody reads it, and we may not wait
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, line, std::min(end.size, sizeof line));
}

bool is_ours(pid_t command) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(command), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

}  // namespace

int be_plain_init(pid_t command, std::string_view why) {
    say(why);
    const sigset_t all = all_signals();
    if (!is_ours(command)) return own_failure;
    for (;;) {
        const auto exit = reap_all(command).exit;
        if (exit) return exit->signal != 0 ? 128 + exit->signal : exit->code;
        siginfo_t signal{};
        const int number = ::sigwaitinfo(&all, &signal);
        const bool own = signal.si_pid == ::getpid() && signal.si_code == SI_USER;
        if (number > 0 && number != SIGCHLD && !own) ::kill(command, number);
    }
}

}  // namespace lastcall
