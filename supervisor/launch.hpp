#pragma once
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "supervisor/task.hpp"

namespace lastcall {

/// What we inherited, and the command gets back as it was: signal(7), "inherited across execve".
struct Inheritance {
    sigset_t mask{};
    bool ignores_sigchld = false;
    std::optional<rlimit> open_files;  ///< RLIMIT_NOFILE, where we have raised ours
};

/// Blocks every signal that can be, and lets SIGCHLD be: first thing in main, so that none is lost.
Inheritance take_over_signals();

struct LaunchOptions {
    std::vector<std::string> command;
    std::vector<std::string> environment;  ///< "NAME=value", the whole of it
    std::string working_directory;         ///< empty: ours; entered as `identity`
    std::optional<Identity> identity;      ///< none: ours
    std::string log_file;                  ///< stdout and stderr are appended to it; empty: ours
    int output = -1;                       ///< a descriptor instead; -1: none
    int errors = -1;                       ///< stderr's own; -1: where stdout goes
    int input = -1;                        ///< stdin's own; -1: none
    bool own_stdin = true;                 ///< false: /dev/null
    bool keep_descriptors = true;          ///< false: all but 0 to 2 are closed
    bool foreground = false;               ///< becomes the terminal's foreground group
    int cgroup = -1;                       ///< a cgroup v2 directory to be born in; -1: ours
    Inheritance inherited;
};

struct Launched {
    pid_t pid = 0;
    int pidfd = -1;                  ///< close-on-exec
    std::optional<ExitStatus> exit;  ///< if it has been reaped already
    std::optional<Known> stranger;   ///< not our child; if its exit can't be known, that is why
};

/// What kept a command from being started: "cannot start 'CMD': No such file or directory", with
/// errno's code.
class LaunchError : public std::system_error {
 public:
    LaunchError(int error, const std::string& what, bool executing)
        : std::system_error(error, std::generic_category(), what), executing_(executing) {}
    /// Whether the command itself couldn't be executed; else what was to be done before it failed:
    /// there is no such directory, the user can't be changed, no process can be made.
    bool executing() const { return executing_; }

 private:
    bool executing_;
};

/// Starts a command by a vfork-like clone3(2): returns when it was executed. It leads a process
/// group of its own. The path is searched as execvp(3) does, in the PATH of `environment`; a script
/// without `#!` goes to /bin/sh, as there. Throws LaunchError.
Launched launch(const LaunchOptions& options);

}  // namespace lastcall
