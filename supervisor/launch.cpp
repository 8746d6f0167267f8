#include "supervisor/launch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

namespace lastcall {
namespace {

/// All that the child needs, laid out before the clone: it shares our memory and may only make
/// system calls (vfork(2)).
struct Plan {
    std::vector<const char*> paths;  ///< candidates, in the order of PATH; ends with null
    std::vector<const char*> argv, shell_argv, envp;
    const char* directory = nullptr;
    int log = -1, null = -1;
    bool keep_descriptors = true, foreground = false, ignores_sigchld = false;
    const rlimit* open_files = nullptr;
    sigset_t mask{};
    char* listen_pid = nullptr;  ///< where LISTEN_PID's digits go, sd_listen_fds(3)
    int error = 0;
};

constexpr std::size_t listen_pid_digits = 12;

void write_number(char* to, long number) {
    char digits[listen_pid_digits];
    std::size_t count = 0;
    do digits[count++] = static_cast<char>('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0) *to++ = digits[--count];
    *to = '\0';
}

__attribute__((no_sanitize("address", "undefined"))) int prepare_child(Plan& plan) {
    if (::setpgid(0, 0) == -1) return errno;
    if (plan.foreground) ::tcsetpgrp(STDIN_FILENO, ::getpid());  // SIGTTOU is blocked here
    if (plan.null != -1 && ::dup2(plan.null, STDIN_FILENO) == -1) return errno;
    if (plan.log != -1 && ::dup2(plan.log, STDOUT_FILENO) == -1) return errno;
    if (plan.log != -1 && ::dup2(plan.log, STDERR_FILENO) == -1) return errno;
    if (!plan.keep_descriptors) ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    if (plan.directory && ::chdir(plan.directory) == -1) return errno;
    if (plan.open_files) ::setrlimit(RLIMIT_NOFILE, plan.open_files);
    if (plan.listen_pid) write_number(plan.listen_pid, ::getpid());
    if (plan.ignores_sigchld) {
        struct sigaction ignore{};
        ignore.sa_handler = SIG_IGN;
        ::sigaction(SIGCHLD, &ignore, nullptr);
    }
    ::sigprocmask(SIG_SETMASK, &plan.mask, nullptr);
    return 0;
}

/// As execvp: the first that can be executed; one that exists but may not be is the better reason.
__attribute__((no_sanitize("address", "undefined"))) int execute(Plan& plan) {
    auto* const* argv = const_cast<char* const*>(plan.argv.data());
    auto* const* envp = const_cast<char* const*>(plan.envp.data());
    int reason = ENOENT;
    for (const char* const* path = plan.paths.data(); *path; ++path) {
        ::execve(*path, argv, envp);
        if (errno == ENOEXEC) {
            plan.shell_argv[1] = *path;
            ::execve("/bin/sh", const_cast<char* const*>(plan.shell_argv.data()), envp);
            return ENOEXEC;
        }
        if (errno == ENOENT || errno == ENOTDIR) continue;
        if (errno != EACCES) return errno;
        reason = EACCES;
    }
    return reason;
}

__attribute__((no_sanitize("address", "undefined"))) int child_main(void* argument) {
    Plan& plan = *static_cast<Plan*>(argument);
    plan.error = prepare_child(plan);
    if (plan.error == 0) plan.error = execute(plan);
    ::_exit(127);
}

class Descriptor {
 public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor() {
        if (number_ != -1) ::close(number_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return number_; }

 private:
    int number_;
};

int open_for(const std::string& path, int flags) {
    const int file = ::open(path.c_str(), flags | O_CLOEXEC, 0640);
    if (file == -1) {
        throw std::system_error(errno, std::generic_category(),
                                fmt::format("cannot open '{}'", path));
    }
    return file;
}

std::string_view variable(const std::vector<std::string>& environment, std::string_view name) {
    for (const auto& each : environment) {
        if (each.size() > name.size() && each[name.size()] == '=' && each.starts_with(name)) {
            return std::string_view(each).substr(name.size() + 1);
        }
    }
    return {};
}

std::vector<std::string> candidates(const std::string& command, std::string_view path) {
    if (command.find('/') != std::string::npos) return {command};
    if (path.empty()) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    std::vector<std::string> found;
    for (std::size_t from = 0; from <= path.size();) {
        const auto to = std::min(path.find(':', from), path.size());
        const auto folder = path.substr(from, to - from);
        found.push_back(fmt::format("{}{}{}", folder, folder.empty() ? "" : "/", command));
        from = to + 1;
    }
    return found;
}

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
    std::vector<const char*> result;
    for (const auto& text : texts) result.push_back(text.c_str());
    result.push_back(nullptr);
    return result;
}

}  // namespace

Inheritance take_over_signals() {
    Inheritance inherited;
    sigset_t all;
    ::sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
        ::sigdelset(&all, fault);
    }
    ::sigprocmask(SIG_SETMASK, &all, &inherited.mask);
    // With SIGCHLD ignored the kernel reaps by itself, and every exit code would be lost: wait(2).
    struct sigaction old{};
    ::sigaction(SIGCHLD, nullptr, &old);
    inherited.ignores_sigchld = (old.sa_flags & SA_SIGINFO) == 0 && old.sa_handler == SIG_IGN;
    if (inherited.ignores_sigchld) ::signal(SIGCHLD, SIG_DFL);
    return inherited;
}

Launched launch(const LaunchOptions& options) {
    if (options.command.empty() || options.command.front().empty()) {
        throw std::system_error(ENOENT, std::generic_category(), "cannot start ''");
    }
    auto environment = options.environment;
    const auto paths = candidates(options.command.front(), variable(environment, "PATH"));
    Plan plan;
    for (auto& each : environment) {
        if (!each.starts_with("LISTEN_PID=")) continue;
        each.resize(std::strlen("LISTEN_PID=") + listen_pid_digits);
        plan.listen_pid = each.data() + std::strlen("LISTEN_PID=");
    }
    plan.paths = pointers(paths);
    plan.argv = pointers(options.command);
    plan.shell_argv = plan.argv;
    plan.shell_argv.insert(plan.shell_argv.begin(), "/bin/sh");
    plan.envp = pointers(environment);
    plan.directory =
        options.working_directory.empty() ? nullptr : options.working_directory.c_str();
    plan.keep_descriptors = options.keep_descriptors;
    plan.foreground = options.foreground;
    plan.ignores_sigchld = options.inherited.ignores_sigchld;
    if (options.inherited.open_files) plan.open_files = &*options.inherited.open_files;
    plan.mask = options.inherited.mask;
    const Descriptor log(
        options.log_file.empty() ? -1 : open_for(options.log_file, O_WRONLY | O_APPEND | O_CREAT));
    const Descriptor null(options.own_stdin ? -1 : open_for("/dev/null", O_RDONLY));
    plan.log = log.get();
    plan.null = null.get();

    alignas(
        16) static char stack[64 * 1024];  // one launch at a time: the parent waits (CLONE_VFORK)
    Launched launched;
    const int pid = ::clone(child_main, stack + sizeof stack,
                            CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &plan, &launched.pidfd);
    const int error = pid == -1 ? errno : plan.error;
    if (error != 0) {
        if (pid != -1) {
            ::waitpid(pid, nullptr, 0);
            ::close(launched.pidfd);
        }
        throw std::system_error(error, std::generic_category(),
                                fmt::format("cannot start '{}'", options.command.front()));
    }
    launched.pid = pid;
    return launched;
}

}  // namespace lastcall
