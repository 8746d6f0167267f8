#include "agent/terminal.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

/// Whether nobody of our session is above our process group, to continue it.
bool is_orphaned() {
    const pid_t group = ::getpgrp(), session = ::getsid(0);
    pid_t above = ::getppid();
    while (above != 0 && ::getsid(above) == session) {
        if (::getpgid(above) != group) return false;
        above = proc::status_of(above).parent;
    }
    return true;
}

/// Stops our process group and us by one and the same signal: a SIGCONT that comes in between,
/// since a shell has seen another of the group stop, takes ours back with it. Were we to follow
/// with a signal of our own, it would be us who take back the SIGCONT.
void stop_group_by(int signal) {
    ::kill(0, signal);
    if (signal == SIGSTOP) return;
    struct sigaction stop = {}, inherited = {};
    stop.sa_handler = SIG_DFL;
    ::sigaction(signal, &stop, &inherited);
    sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, signal);
    ::sigprocmask(SIG_UNBLOCK, &one, nullptr);  // here
    ::sigprocmask(SIG_BLOCK, &one, nullptr);
    ::sigaction(signal, &inherited, nullptr);
}

bool is_pending(int signal) {
    sigset_t pending;
    return ::sigpending(&pending) == 0 && ::sigismember(&pending, signal) == 1;
}

}  // namespace

Terminal::Terminal(pid_t command, bool given)
    : command_(command), own_(::getpgrp()), given_(given), was_given_(given) {}

Terminal::~Terminal() {
    if (opened_ != -1) ::close(opened_);
}

int Terminal::stopped_by() const {
    siginfo_t info{};
    const auto id = static_cast<id_t>(command_);
    if (::waitid(P_PID, id, &info, WSTOPPED | WNOHANG) == -1) return 0;
    return info.si_pid == command_ ? info.si_status : 0;
}

void Terminal::stopped(int by, bool may_stop) {
    const bool asked = std::exchange(asked_, false);
    const auto in_front = foreground();
    // A shell's `fg` of a job that runs continues nobody: this is how we hear of it.
    const bool needs_terminal = by == SIGTTIN || by == SIGTTOU;
    if (needs_terminal && !asked && in_front == own_ && give_to(command_)) {
        given_ = was_given_ = true;
        ::kill(-command_, SIGCONT);
        return;
    }
    const bool of_a_shell = in_front && !is_orphaned();
    if (by == SIGTSTP && in_front && !asked && (!of_a_shell || !may_stop)) {
        ::kill(-command_, SIGCONT);
        return;
    }
    stopped_ = true;
    if (may_stop && (asked || of_a_shell)) stop_with_it(by, !asked);
}

void Terminal::asked_to_stop(const signalfd_siginfo& signal) {
    asked_ = signal.ssi_code != SI_KERNEL || !is_orphaned();  // else as if it were Ctrl-Z
}

void Terminal::stop_with_it(int signal, bool whole_group) {
    if (is_pending(SIGCONT)) return;  // who wanted it has changed their mind; our stop would eat it
    if (given_) give_to(own_);
    given_ = false;
    // Others of the job: a script that started us, the rest of a pipeline. The kernel would have
    // told them at Ctrl-Z, were the command of our group.
    if (whole_group) {
        stop_group_by(signal);
    } else {
        ::kill(::getpid(), SIGSTOP);  // no effect on PID 1
    }
}

bool Terminal::resume() {
    asked_ = false;
    const auto in_front = foreground();
    if (was_given_ && in_front == own_) give_to(command_);
    given_ = was_given_ && foreground() == command_;
    return std::exchange(stopped_, false);
}

bool Terminal::wanted_beside_us(const signalfd_siginfo& signal) {
    const bool of_kernel = signal.ssi_code == SI_KERNEL;
    if (!of_kernel || (signal.ssi_signo != SIGTTIN && signal.ssi_signo != SIGTTOU)) return false;
    if (!given_ || foreground() != command_ || !give_to(own_)) return false;
    given_ = was_given_ = false;  // it gets it again when it needs it
    ::kill(0, SIGCONT);
    return true;
}

void Terminal::leave() {
    if (given_ && foreground() != own_) give_to(own_);
    given_ = false;
}

/// Our controlling terminal, through whatever is open to it; -1: there is none.
int Terminal::descriptor() {
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::tcgetpgrp(standard) != -1) return standard;
    }
    if (opened_ == -1) opened_ = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return opened_;
}

std::optional<pid_t> Terminal::foreground() {
    const pid_t group = ::tcgetpgrp(descriptor());  // ENOTTY, ENXIO, EIO, EBADF: none (any more)
    return group == -1 ? std::nullopt : std::optional(group);
}

/// SIGTTOU is blocked, so this is allowed in the background too.
bool Terminal::give_to(pid_t group) { return ::tcsetpgrp(descriptor(), group) == 0; }

}  // namespace lastcall
