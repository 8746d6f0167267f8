#pragma once
#include <sys/signalfd.h>
#include <sys/types.h>

#include <optional>

namespace lastcall {

/// Job control, as a shell's user expects it of one job: the command has a process group of its own
/// and the terminal's foreground; when it stops, the agent takes the terminal back and stops too,
/// so that the shell sees a stopped job; when the shell continues the agent, the command follows.
///
/// Without a terminal there is nothing to do but for a stop that was asked for. In an orphaned
/// process group (PID 1 of a container, a session's leader) nobody could ever continue us, so
/// Ctrl-Z has no effect, as the kernel has it there: setpgid(2), termios(3), "job control".
class Terminal {
 public:
    /// `given`: the command was started in the foreground.
    Terminal(pid_t command, bool given);
    ~Terminal();
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    /// What has stopped the command since this was last asked, or 0; on every SIGCHLD, while it
    /// isn't reaped.
    int stopped_by() const;
    /// It was stopped by that. `may_stop`: the agent may stop with it (nothing goes on that mustn't
    /// wait).
    void stopped(int by, bool may_stop);
    /// A signal that stops the command was passed on to it: when it does, so do we.
    void asked_to_stop(const signalfd_siginfo& signal);
    /// The agent got SIGCONT; true if the command has to be continued group and all.
    bool resume();
    /// SIGTTIN or SIGTTOU of the kernel, since another process of our own group needs the terminal
    /// that the command has (`agent run -- CMD | less`); true if it was helped.
    bool wanted_beside_us(const signalfd_siginfo& signal);
    /// Gives the foreground back to our own group; before the agent ends.
    void leave();

 private:
    int descriptor();
    std::optional<pid_t> foreground();
    bool give_to(pid_t group);
    void stop_with_it(int signal, bool whole_group);

    const pid_t command_, own_;
    bool given_;          ///< the command has the foreground from us
    bool was_given_;      ///< it had it, and gets it again
    bool asked_ = false;  ///< a signal that stops it was passed on
    bool stopped_ = false;
    int opened_ = -1;  ///< /dev/tty, where none of 0 to 2 is it
};

}  // namespace lastcall
