#include "agent/notices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "agent/lb/helper_path.hpp"
#include "agent/utc.hpp"

namespace lastcall {
namespace {

constexpr Clock::duration ask_again = 10s;     // who can't say now
constexpr Clock::duration hook_patience = 5s;  // at the agent's own end
constexpr Clock::duration complete_again = 2s;

constexpr std::string_view of_the_group = "TerminationNotice";

StopCode code_of(std::string_view notice) {
    return notice == of_the_group ? StopCode::termination_notice : StopCode::spot_interruption;
}

}  // namespace

std::optional<std::string> notices_program(const Settings& settings) {
    if (!settings.spot_draining && settings.lifecycle_hook.empty()) return std::nullopt;
    const auto directories = helper_directories(settings.helper_path);
    if (auto program = find_helper("aws", directories)) return program;
    throw std::runtime_error(
        fmt::format("cannot hear of {}: expected a program agent-lb-aws in {} (AGENT_HELPER_PATH)",
                    settings.spot_draining ? "spot notices (ECS_ENABLE_SPOT_INSTANCE_DRAINING)"
                                           : "the lifecycle hook (AGENT_LIFECYCLE_HOOK)",
                    fmt::join(directories, " or ")));
}

Notices::~Notices() = default;

Notices::Notices(Parts parts, NoticeWishes wishes)
    : parts_(std::move(parts)),
      wishes_(std::move(wishes)),
      helper_({.executor = parts_.executor,
               .clock = parts_.clock,
               .log = parts_.log,
               .start = parts_.start},
              {parts_.program, "watch"}),
      completing_(parts_.executor) {}

awaitable<void> Notices::work() {
    for (;;) {
        co_await listen();
        co_await parts_.clock.sleep_until(parts_.clock.now() + ask_again);
    }
}

/// Until it can't be listened to any more, which is said.
awaitable<void> Notices::listen() {
    const auto asked =
        helper_.ask({.verb = helper::Verb::watch, .spot = wishes_.spot, .hook = wishes_.hook});
    for (int heard = 0; !asked->end;) {
        while (heard == asked->heard) co_await asked->news.next();
        heard = asked->heard;
        for (const auto& notice : std::exchange(asked->notices, {})) heed(notice);
    }
    if (finishing_) co_return;
    parts_.log.say(Level::error, "Notices of this machine's end can't be heard",
                   {{"error", asked->end->error}});
}

/// The same one again changes nothing.
void Notices::heed(const helper::Answer& notice) {
    if (finishing_) return;
    const auto at = notice.at ? utc_text(*notice.at) : std::string("not known");
    if (!heeded_.insert(notice.notice + " " + at).second) return;
    StopRequest request{.code = code_of(notice.notice), .reason = notice.reason};
    request.by.via = "notice";
    if (request.reason.empty()) request.reason = notice.notice;
    if (notice.at) request.deadline = std::max(*notice.at - parts_.clock.utc(), Clock::duration{});
    parts_.log.say(Level::warn, "This machine is about to end: all tasks are stopped",
                   {{"notice", notice.notice}, {"reason", request.reason}, {"at", at}});
    auto& supervisor = parts_.supervisor;
    supervisor.refuse_new(fmt::format("this machine is about to end ({})", request.reason));
    for (const auto& view : supervisor.views()) {
        supervisor.request_stop(view.state.definition.name, request);
    }
    if (notice.notice != of_the_group) return;
    completing_.spawn(complete(), [this](std::exception_ptr error) {
        // Caught here: a hook that nobody completes ends by its own timeout.
        try {
            std::rethrow_exception(error);
        } catch (...) {
            parts_.log.say(Level::error, "Lifecycle hook is not completed",
                           {{"hook", wishes_.hook}, {"error", failure_text()}});
        }
    });
}

/// Not before the last task is STOPPED.
awaitable<void> Notices::complete() {
    const bool stopped = co_await all_stopped();
    const std::string result = stopped ? "CONTINUE" : wishes_.on_failure;
    for (;;) {
        const auto asked = helper_.ask({.verb = helper::Verb::complete, .result = result});
        while (!asked->end) co_await asked->news.next();
        const auto& [error, retry] = std::tie(asked->end->error, asked->end->retry);
        if (error.empty()) break;
        parts_.log.say(Level::warn, "Lifecycle hook can't be completed",
                       {{"hook", wishes_.hook}, {"error", error}});
        if (!retry) co_return;
        co_await parts_.clock.sleep_until(parts_.clock.now() + complete_again);
    }
    parts_.log.say(Level::info, "Lifecycle hook is completed",
                   {{"hook", wishes_.hook}, {"result", result}});
}

/// Waits for the end of every stop; false: something is left that SIGKILL couldn't end.
awaitable<bool> Notices::all_stopped() {
    auto& supervisor = parts_.supervisor;
    bool all = true;
    for (const auto& view : supervisor.views()) {
        const auto& name = view.state.definition.name;
        if (view.state.last_status == TaskStatus::stopped) continue;
        // Caught here: who has been forgotten meanwhile was STOPPED before.
        try {
            co_await supervisor.stopped(name);
            const auto now = supervisor.view(name);
            all = all && now.state.last_status == TaskStatus::stopped;
        } catch (const NoSuchTask&) {
        }
    }
    co_return all;
}

awaitable<void> Notices::finish() {
    finishing_ = true;
    const auto until = parts_.clock.now() + hook_patience;
    auto completed = done(completing_.close());
    co_await before(parts_.clock, until, std::move(completed));
    completing_.cancel();
    co_await completing_.close();
    co_await helper_.close();
}

}  // namespace lastcall
