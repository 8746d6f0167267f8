#include "supervisor/task.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>

#include "supervisor/vocabulary.hpp"

namespace lastcall {
namespace {

constexpr Word<TaskStatus> statuses[] = {
    {TaskStatus::pending, "PENDING"},
    {TaskStatus::running, "RUNNING"},
    {TaskStatus::deactivating, "DEACTIVATING"},
    {TaskStatus::stopping, "STOPPING"},
    {TaskStatus::deprovisioning, "DEPROVISIONING"},
    {TaskStatus::stopped, "STOPPED"},
};
constexpr Word<StopCode> stop_codes[] = {
    {StopCode::user_initiated, "UserInitiated"},
    {StopCode::essential_container_exited, "EssentialContainerExited"},
    {StopCode::task_failed_to_start, "TaskFailedToStart"},
    {StopCode::spot_interruption, "SpotInterruption"},
    {StopCode::termination_notice, "TerminationNotice"},
    {StopCode::service_scheduler_initiated, "ServiceSchedulerInitiated"},
};
constexpr Word<DrainMode> drain_modes[] = {
    {DrainMode::closed, "closed"},
    {DrainMode::strict, "strict"},
    {DrainMode::idle, "idle"},
    {DrainMode::none, "none"},
};
constexpr Word<SignalScope> signal_scopes[] = {
    {SignalScope::main, "main"},
    {SignalScope::group, "group"},
    {SignalScope::tree, "tree"},
};

/// Names as signal(7) has them, without SIG. Where a number has two, the first is ours.
constexpr Word<int> signals[] = {
    {SIGHUP, "HUP"},       {SIGINT, "INT"},     {SIGQUIT, "QUIT"}, {SIGILL, "ILL"},
    {SIGTRAP, "TRAP"},     {SIGABRT, "ABRT"},   {SIGABRT, "IOT"},  {SIGBUS, "BUS"},
    {SIGFPE, "FPE"},       {SIGKILL, "KILL"},   {SIGUSR1, "USR1"}, {SIGSEGV, "SEGV"},
    {SIGUSR2, "USR2"},     {SIGPIPE, "PIPE"},   {SIGALRM, "ALRM"}, {SIGTERM, "TERM"},
    {SIGSTKFLT, "STKFLT"}, {SIGCHLD, "CHLD"},   {SIGCHLD, "CLD"},  {SIGCONT, "CONT"},
    {SIGSTOP, "STOP"},     {SIGTSTP, "TSTP"},   {SIGTTIN, "TTIN"}, {SIGTTOU, "TTOU"},
    {SIGURG, "URG"},       {SIGXCPU, "XCPU"},   {SIGXFSZ, "XFSZ"}, {SIGVTALRM, "VTALRM"},
    {SIGPROF, "PROF"},     {SIGWINCH, "WINCH"}, {SIGIO, "IO"},     {SIGIO, "POLL"},
    {SIGPWR, "PWR"},       {SIGSYS, "SYS"},
};
constexpr int last_signal = 64;  // _NSIG of Linux, everywhere but on MIPS

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string in_capitals(std::string_view text) {
    std::string capitals(text);
    for (char& c : capitals) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return capitals;
}

/// Digits and nothing else.
std::optional<int> whole_number(std::string_view text) {
    int number = 0;
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

/// "RTMIN", "RTMIN+3", "RTMAX-1". The bounds are asked of the C library, which keeps some.
std::optional<int> real_time_signal(std::string_view name) {
    if (!name.starts_with("RTMIN") && !name.starts_with("RTMAX")) return std::nullopt;
    const bool from_below = name.starts_with("RTMIN");
    const int origin = from_below ? SIGRTMIN : SIGRTMAX;
    const auto rest = name.substr(5);
    if (rest.empty()) return origin;
    if (rest.front() != (from_below ? '+' : '-')) return std::nullopt;
    const auto offset = whole_number(rest.substr(1));
    if (!offset || *offset > SIGRTMAX - SIGRTMIN) return std::nullopt;
    return from_below ? origin + *offset : origin - *offset;
}

}  // namespace

std::string_view to_string(TaskStatus status) { return spelling_of(status, statuses); }
std::string_view to_string(StopCode code) { return spelling_of(code, stop_codes); }
std::string_view to_string(DrainMode mode) { return spelling_of(mode, drain_modes); }
std::string_view to_string(SignalScope scope) { return spelling_of(scope, signal_scopes); }

std::optional<DrainMode> drain_mode(std::string_view text) { return value_of(text, drain_modes); }
std::optional<SignalScope> signal_scope(std::string_view text) {
    return value_of(text, signal_scopes);
}

std::string signal_name(int number) {
    for (const auto& [each, name] : signals) {
        if (each == number) return "SIG" + std::string(name);
    }
    if (number == SIGRTMIN) return "SIGRTMIN";
    if (number == SIGRTMAX) return "SIGRTMAX";
    // Counted from the nearer end, as `kill -l` does.
    const int middle = SIGRTMIN + (SIGRTMAX - SIGRTMIN) / 2;
    if (number > SIGRTMIN && number <= middle) {
        return "SIGRTMIN+" + std::to_string(number - SIGRTMIN);
    }
    if (number > middle && number < SIGRTMAX) {
        return "SIGRTMAX-" + std::to_string(SIGRTMAX - number);
    }
    return std::to_string(number);
}

std::optional<int> signal_number(std::string_view text) {
    if (const auto number = whole_number(text)) {
        return *number >= 1 && *number <= last_signal ? number : std::nullopt;
    }
    const std::string capitals = in_capitals(text);
    std::string_view name = capitals;
    if (name.starts_with("SIG")) name.remove_prefix(3);
    if (const auto number = value_of(name, signals)) return number;
    return real_time_signal(name);
}

std::optional<std::string> name_trouble(std::string_view name) {
    const auto allowed = [](char c) {
        return is_letter(c) || is_digit(c) || c == '_' || c == '.' || c == '-';
    };
    if (name.empty()) return "a task needs a name";
    if (name.size() > 255) {
        return "a task's name has at most 255 characters, not " + std::to_string(name.size());
    }
    if (!std::all_of(name.begin(), name.end(), allowed)) {
        return "a task's name has only letters, digits, '_', '.' and '-', unlike '" +
               std::string(name) + "'";
    }
    if (!is_letter(name.front()) && !is_digit(name.front())) {
        return "a task's name starts with a letter or a digit, unlike '" + std::string(name) + "'";
    }
    return std::nullopt;
}

}  // namespace lastcall
