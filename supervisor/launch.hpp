#pragma once
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace lastcall {

/// What we inherited, and the command gets back as it was: signal(7), "inherited across execve".
struct Inheritance {
    sigset_t mask{};
    bool ignores_sigchld = false;
    std::optional<rlimit> open_files;  ///< RLIMIT_NOFILE, where we have raised ours
};

/// Blocks every signal that can be handled, and lets SIGCHLD be: first thing in main, so that none
/// is lost. Those a fault raises stay open.
Inheritance take_over_signals();

struct LaunchOptions {
    std::vector<std::string> command;
    std::vector<std::string> environment;  ///< "NAME=value", the whole of it
    std::string working_directory;         ///< empty: ours
    std::string log_file;                  ///< stdout and stderr are appended to it; empty: ours
    bool own_stdin = true;                 ///< false: /dev/null
    bool keep_descriptors = true;          ///< false: all but 0 to 2 are closed
    bool foreground = false;               ///< becomes the terminal's foreground group
    Inheritance inherited;
};

struct Launched {
    pid_t pid = 0;
    int pidfd = -1;  ///< close-on-exec
};

/// Starts a command by a vfork-like clone(2): returns when it was executed. It leads a process
/// group of its own. The path is searched as execvp(3) does, in the PATH of `environment`; a script
/// without `#!` goes to /bin/sh, as there. Throws std::system_error with errno's code: "cannot
/// start 'CMD': No such file or directory".
Launched launch(const LaunchOptions& options);

}  // namespace lastcall
