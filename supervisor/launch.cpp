#include "supervisor/launch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <tuple>

namespace lastcall {
namespace {

/// What a child was about to do when it failed.
enum class Step { prepare, become, enter, execute };
struct Failure {
    Step step = Step::prepare;
    int error = 0;
};

/// All that the child needs, laid out before the clone: it may only make system calls (vfork(2)).
struct Plan {
    std::vector<const char*> paths;  ///< candidates, in the order of PATH; ends with null
    std::vector<const char*> argv, shell_argv, envp;
    const char* directory = nullptr;
    int log = -1, errors = -1, input = -1;
    bool keep_descriptors = true, foreground = false, ignores_sigchld = false;
    const rlimit* open_files = nullptr;
    const Identity* identity = nullptr;
    sigset_t mask{};
    char* listen_pid = nullptr;  ///< where LISTEN_PID's digits go, sd_listen_fds(3)
    Failure* failure = nullptr;  ///< in memory that the parent sees
};

constexpr std::size_t listen_pid_digits = 12;
constexpr std::size_t kernel_sigset = 8;  ///< bytes: 64 signals, all that the kernel knows

void write_number(char* to, long number) {
    char digits[listen_pid_digits];
    std::size_t count = 0;
    do digits[count++] = static_cast<char>('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0) *to++ = digits[--count];
    *to = '\0';
}

/// System calls themselves: libc's would change every thread of the parent, whose memory this is.
__attribute__((no_sanitize("address", "undefined"))) int become(const Identity& identity) {
    const auto [uid, gid, groups] = std::tie(identity.uid, identity.gid, identity.groups);
    if (::syscall(SYS_setgroups, groups.size(), groups.data()) == -1) return errno;
    if (::syscall(SYS_setresgid, gid, gid, gid) == -1) return errno;
    if (::syscall(SYS_setresuid, uid, uid, uid) == -1) return errno;
    return 0;
}

__attribute__((no_sanitize("address", "undefined"))) int prepare_child(Plan& plan) {
    if (::setpgid(0, 0) == -1) return errno;
    if (plan.foreground) ::tcsetpgrp(STDIN_FILENO, ::getpid());  // SIGTTOU is blocked here
    if (plan.input != -1 && ::dup2(plan.input, STDIN_FILENO) == -1) return errno;
    if (plan.log != -1 && ::dup2(plan.log, STDOUT_FILENO) == -1) return errno;
    if (plan.errors != -1 && ::dup2(plan.errors, STDERR_FILENO) == -1) return errno;
    if (!plan.keep_descriptors) ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    if (plan.open_files) ::setrlimit(RLIMIT_NOFILE, plan.open_files);
    if (plan.listen_pid) write_number(plan.listen_pid, ::getpid());
    plan.failure->step = Step::become;
    const int refused = plan.identity ? become(*plan.identity) : 0;
    if (refused != 0) return refused;
    plan.failure->step = Step::enter;
    if (plan.directory && ::chdir(plan.directory) == -1) return errno;
    if (plan.ignores_sigchld) {
        struct sigaction ignore = {};
        ignore.sa_handler = SIG_IGN;
        ::sigaction(SIGCHLD, &ignore, nullptr);
    }
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &plan.mask, nullptr, kernel_sigset);
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
    plan.failure->error = prepare_child(plan);
    if (plan.failure->error == 0) {
        plan.failure->step = Step::execute;
        plan.failure->error = execute(plan);
    }
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
    if (file == -1) throw LaunchError(errno, fmt::format("cannot open '{}'", path), false);
    return file;
}

/// A log is appended to. Whatever else stands in its place (a symlink to somewhere, a fifo that
/// nobody reads) isn't written to, and nobody waits for it.
int open_log(const std::string& path) {
    const int file = open_for(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
    struct stat status = {};
    if (::fstat(file, &status) == -1 || !S_ISREG(status.st_mode)) {
        ::close(file);
        throw LaunchError(EINVAL, fmt::format("cannot log to '{}': it is no regular file", path),
                          false);
    }
    ::fcntl(file, F_SETFL, O_APPEND);  // it is the task's too, which may look
    return file;
}

/// Shares our memory until it executes: the quickest way there is, vfork(2).
int clone_sharing(Plan& plan, int& pidfd) {
    // Below ours, where the next pages are: the parent waits, and calls nothing (CLONE_VFORK).
    alignas(16) char stack[8 * 1024];
    return ::clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                   &plan, &pidfd);
}

/// Born in a cgroup, so that nothing it ever forks is outside. Without CLONE_VM, because clone3(2)
/// with a stack of its own takes assembly for each architecture.
int clone_into(int cgroup, Plan& plan, int& pidfd) {
    clone_args arguments{};
    arguments.flags = CLONE_VFORK | CLONE_PIDFD | CLONE_INTO_CGROUP;
    arguments.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
    arguments.exit_signal = SIGCHLD;
    arguments.cgroup = static_cast<std::uint64_t>(cgroup);
    const auto pid = static_cast<int>(::syscall(SYS_clone3, &arguments, sizeof arguments));
    if (pid == 0) child_main(&plan);
    return pid;
}

/// One failure in memory that a child without CLONE_VM shares with us.
class SharedFailure {
 public:
    SharedFailure()
        : page_(::mmap(nullptr, sizeof(Failure), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
        if (page_ == MAP_FAILED) throw LaunchError(errno, "cannot start a command", false);
        new (page_) Failure;
    }
    ~SharedFailure() { ::munmap(page_, sizeof(Failure)); }
    SharedFailure(const SharedFailure&) = delete;
    SharedFailure& operator=(const SharedFailure&) = delete;
    Failure& get() { return *static_cast<Failure*>(page_); }

 private:
    void* page_;
};

[[noreturn]] void fail(const LaunchOptions& options, const Failure& failure) {
    const auto& command = options.command.front();
    const auto [step, error] = failure;
    if (step == Step::become) {
        const auto [uid, gid] = std::tie(options.identity->uid, options.identity->gid);
        throw LaunchError(
            error, fmt::format("cannot start '{}' as user {}, group {}", command, uid, gid), false);
    }
    if (step == Step::enter) {
        throw LaunchError(error,
                          fmt::format("cannot start '{}' in the directory '{}'", command,
                                      options.working_directory),
                          false);
    }
    throw LaunchError(error, fmt::format("cannot start '{}'", command), step == Step::execute);
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
    // Faults too, since somebody may send one; a real one ends us all the same, the kernel sees to
    // it. By system call, because libc's keeps two signals open for itself.
    const std::uint64_t every_signal = ~std::uint64_t{0};
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &every_signal, &inherited.mask, kernel_sigset);
    // With SIGCHLD ignored the kernel reaps by itself, and every exit code would be lost: wait(2).
    struct sigaction old = {};
    ::sigaction(SIGCHLD, nullptr, &old);
    inherited.ignores_sigchld = (old.sa_flags & SA_SIGINFO) == 0 && old.sa_handler == SIG_IGN;
    if (inherited.ignores_sigchld) ::signal(SIGCHLD, SIG_DFL);
    return inherited;
}

Launched launch(const LaunchOptions& options) {
    if (options.command.empty() || options.command.front().empty()) {
        throw LaunchError(ENOENT, "cannot start ''", true);
    }
    const auto paths = candidates(options.command.front(), variable(options.environment, "PATH"));
    Plan plan;
    plan.paths = pointers(paths);
    plan.argv = pointers(options.command);
    plan.shell_argv = plan.argv;
    plan.shell_argv.insert(plan.shell_argv.begin(), "/bin/sh");
    plan.envp = pointers(options.environment);
    std::string listen_pid = "LISTEN_PID=";
    for (auto& each : plan.envp) {
        if (!each || !std::string_view(each).starts_with(listen_pid)) continue;
        const auto digits = listen_pid.size();
        listen_pid.resize(digits + listen_pid_digits);
        plan.listen_pid = listen_pid.data() + digits;
        each = listen_pid.data();
        break;
    }
    plan.directory =
        options.working_directory.empty() ? nullptr : options.working_directory.c_str();
    plan.keep_descriptors = options.keep_descriptors;
    plan.foreground = options.foreground;
    plan.ignores_sigchld = options.inherited.ignores_sigchld;
    if (options.identity) plan.identity = &*options.identity;
    if (options.inherited.open_files) plan.open_files = &*options.inherited.open_files;
    plan.mask = options.inherited.mask;
    const Descriptor log(options.log_file.empty() ? -1 : open_log(options.log_file));
    const Descriptor null(options.own_stdin ? -1 : open_for("/dev/null", O_RDONLY));
    plan.log = options.output != -1 ? options.output : log.get();
    plan.errors = options.errors != -1 ? options.errors : plan.log;
    plan.input = options.input != -1 ? options.input : null.get();

    Failure ours;
    std::optional<SharedFailure> shared;
    if (options.cgroup != -1) shared.emplace();
    plan.failure = shared ? &shared->get() : &ours;
    Launched launched;
    launched.pid = options.cgroup == -1 ? clone_sharing(plan, launched.pidfd)
                                        : clone_into(options.cgroup, plan, launched.pidfd);
    if (launched.pid == -1) fail(options, {.step = Step::prepare, .error = errno});
    // Another user's credentials, taken in our memory, make it undumpable: prctl(2).
    if (options.identity && !shared) ::prctl(PR_SET_DUMPABLE, 1);
    if (plan.failure->error != 0) {
        ::waitpid(launched.pid, nullptr, 0);
        ::close(launched.pidfd);
        fail(options, *plan.failure);
    }
    return launched;
}

}  // namespace lastcall
