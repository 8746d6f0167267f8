#include "supervisor/life.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "supervisor/introduction.hpp"
#include "supervisor/registration.hpp"

namespace lastcall {
namespace {

constexpr Clock::duration journal_patience = 100ms;  // a task waits no longer to be recorded

bool contains(const std::vector<std::string>& all, const std::string& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

// ------------------------------------------------------------------------------- its beginning

Life::Life(Surroundings& around, TaskState initial)
    : Life(around, initial, around.memberships(initial.definition)) {}

Life::Life(Surroundings& around, TaskState initial, std::vector<Membership> memberships)
    : around_(around),
      state_(std::move(initial)),
      recorded_(state_.last_status),
      over_(around.executor),
      ended_(around.executor),
      running_(around.executor) {
    for (auto& membership : memberships) {
        const DrainMode mode = membership.drain.value_or(state_.definition.stop.drain);
        const bool registered =
            !membership.registers || contains(state_.registered, membership.url);
        watches_.push_back(
            {.membership = std::move(membership), .mode = mode, .registered = registered});
    }
    if (!state_.containers.empty()) return;
    for (const auto& container : state_.definition.containers) {
        state_.containers.push_back({.name = container.name});
    }
}

awaitable<void> Life::introduce() {
    std::vector<awaitable<void>> introductions;
    for (auto& watch : watches_) introductions.push_back(introduce_to(watch));
    co_await all(std::move(introductions));
}

awaitable<void> Life::introduce_to(Watch& watch) {
    try {
        const bool introduced =
            co_await introduce_in_time(around_.clock, around_.log, state_.definition.name, watch);
        if (introduced) met(watch);
    } catch (const LoadBalancerError& error) {  // the task's author has to mend that
        throw BadRequest(error.what());
    }
}

void Life::met(const Watch& watch) {
    if (around_.introduced) around_.introduced(state_.definition, watch.membership);
}

void Life::launch() {
    const auto& containers = state_.definition.containers;
    for (const auto& container : containers) {
        processes_.push_back(around_.launcher.launch(container, state_.id));
    }
    began();
}

void Life::launched(std::unique_ptr<Process> process) {
    processes_.push_back(std::move(process));
    began();
}

void Life::began() {
    std::vector<Process*> processes;
    for (std::size_t index = 0; index < processes_.size(); ++index) {
        auto& container = state_.containers[index];
        const auto& process = *processes_[index];
        container.pid = process.id();
        container.start_time = process.start_time();
        container.cgroup = process.cgroup();
        processes.push_back(processes_[index].get());
    }
    evidence_ = around_.evidence(state_.definition, processes);
    for (const auto& watch : watches_) {
        if (watch.membership.port) evidence_->named(*watch.membership.port);
    }
    state_.last_status = TaskStatus::running;
    if (!state_.started_at) state_.started_at = around_.clock.utc();
}

void Life::failed_to_start(const std::string& why) {
    state_.last_status = state_.desired_status = TaskStatus::stopped;
    state_.stop_code = StopCode::task_failed_to_start;
    state_.stopped_reason = why;
    state_.stopped_at = around_.clock.utc();
    for (const auto& process : processes_) process->signal(SIGKILL, SignalScope::tree);
    state_.containers[processes_.size()].reason = "CannotStartContainerError: " + why;
    ended_.set();
}

// ------------------------------------------------------------------------------------- its life

awaitable<void> Life::live() {
    if (!ended_.is_set()) co_await run();
    for (const auto& process : processes_) co_await process->empty();
    state_.last_status = TaskStatus::stopped;  // an unkillable one, in the end
    if (!state_.stopped_at) state_.stopped_at = around_.clock.utc();
    if (recorded_ != TaskStatus::stopped) note();
    stop_.reset();  // what it held is free for the next task of that name
    watches_.clear();
    const auto since = std::max(around_.clock.utc() - *state_.stopped_at, Clock::duration::zero());
    const auto left = around_.cleanup_wait - since;
    co_await around_.clock.sleep_until(after(around_.clock.now(), left));
}

awaitable<void> Life::run() {
    note();
    if (early_wish_ && !stop_) request_stop(*early_wish_);
    if (!stop_) {
        for (auto& watch : watches_) running_.spawn(register_with(watch), {});
        for (std::size_t index = 0; index < processes_.size(); ++index) {
            if (!state_.definition.containers[index].essential) continue;
            running_.spawn(watch_exit(*processes_[index]), {});
        }
    }
    co_await over_.wait();
    if (!stop_) {
        prepare_stop({.code = StopCode::essential_container_exited,
                      .reason = "Essential container in task exited",
                      .by = {.via = "exit"}});
    }
    running_.cancel();
    co_await running_.close();
    record_ = co_await stop_->run();
    note_ends();
    if (state_.last_status == TaskStatus::stopped) state_.stopped_at = around_.clock.utc();
    co_await record();
    ended_.set();
}

awaitable<void> Life::register_with(Watch& watch) {
    const std::string& url = watch.membership.url;
    const bool before = contains(state_.registered, url), introduced = watch.introduced;
    if (before && watch.registered && watch.membership.registers) co_return;
    co_await register_when_listening({.clock = around_.clock,
                                      .log = around_.log,
                                      .evidence = *evidence_,
                                      .task = state_.definition.name,
                                      .registered_before = before},
                                     watch);
    if (watch.membership.port) evidence_->named(*watch.membership.port);
    if (!introduced && watch.introduced) met(watch);
    if (!watch.registered || !watch.membership.registers) co_return;
    if (!contains(state_.registered, url)) state_.registered.push_back(url);
    note();
}

awaitable<void> Life::watch_exit(Process& process) {
    co_await process.exit();
    over_.set();
}

void Life::failed(const std::string& why) {
    state_.stopped_reason = why;
    around_.log.say(Level::crit, "Life of a task ended by a failure",
                    {{"task", state_.definition.name}, {"error", why}});
    ended_.set();
}

void Life::note_ends() {
    for (std::size_t index = 0; index < record_.containers.size(); ++index) {
        state_.containers[index].exit = record_.containers[index].exit;
        state_.containers[index].reason = record_.containers[index].reason;
    }
}

void Life::note() {
    recorded_ = state_.last_status;
    around_.journal.note(state_);
}

/// A journal that fails refuses nothing here: the task runs already.
awaitable<void> Life::record() {
    std::string trouble;
    recorded_ = state_.last_status;
    try {
        auto recording = done(around_.journal.record(state_));
        std::optional<bool> recorded;
        if (around_.journal.is_instant()) {
            recorded = co_await std::move(recording);
        } else {
            const auto until = around_.clock.now() + journal_patience;
            recorded = co_await before(around_.clock, until, std::move(recording));
        }
        if (!recorded) trouble = "the journal is slow";
    } catch (...) {
        trouble = failure_text();
    }
    if (trouble.empty()) co_return;
    around_.log.say(Level::error, "Task could not be recorded in time",
                    {{"task", state_.definition.name}, {"error", trouble}});
}

// -------------------------------------------------------------------------------------- its end

void Life::request_stop(const StopRequest& request) {
    if (ended_.is_set()) return;
    if (stop_) return stop_->join(request);
    if (!evidence_) {  // not launched yet
        if (!early_wish_) early_wish_ = request;
        return;
    }
    prepare_stop(request);
    over_.set();
}

void Life::prepare_stop(const StopRequest& request) {
    state_.stop_code = request.code;
    state_.stopped_reason = request.reason;
    state_.desired_status = TaskStatus::stopped;
    const bool by_itself = request.code == StopCode::essential_container_exited;
    stop_ = std::make_unique<Stop>(scene(by_itself, around_.new_id()), request);
}

StopScene Life::scene(bool by_itself, std::string id) {
    std::vector<Watch> watches;
    for (const auto& watch : watches_) {
        // A task that ended by itself takes back what we did, and no more.
        if (by_itself && !(watch.registered && watch.membership.registers)) continue;
        // One that couldn't be told of the task may know of it all the same.
        const bool known = watch.registered || !watch.error.empty();
        watches.push_back({.membership = watch.membership,
                           .mode = watch.mode,
                           .introduced = watch.introduced,
                           .registered = known});
    }
    std::vector<StoppingContainer> containers;
    const auto& definitions = state_.definition.containers;
    for (std::size_t index = 0; index < definitions.size(); ++index) {
        StoppingContainer container{.name = definitions[index].name,
                                    .process = *processes_[index],
                                    .essential = definitions[index].essential,
                                    .stop_timeout = definitions[index].stop_timeout};
        for (std::size_t other = 0; other < definitions.size(); ++other) {
            if (contains(definitions[other].depends_on, container.name)) {
                container.after.push_back(other);
            }
        }
        containers.push_back(std::move(container));
    }
    return {.executor = around_.executor,
            .clock = around_.clock,
            .journal = around_.journal,
            .log = around_.log,
            .launcher = around_.launcher,
            .evidence = *evidence_,
            .task = state_,
            .watches = std::move(watches),
            .containers = std::move(containers),
            .id = std::move(id)};
}

void Life::signal(int number) {
    for (const auto& process : processes_) process->signal(number, SignalScope::main);
}

TaskBrief Life::brief() const {
    TaskBrief brief{.status = state_.last_status, .definition = &state_.definition};
    if (stop_ && !ended_.is_set()) {
        const auto progress = stop_->progress();
        brief.stopping = {.next = progress.next, .next_in = progress.next_in};
    }
    return brief;
}

TaskView Life::view() {
    TaskView view{.state = state_};
    const bool over = ended_.is_set();
    if (over) view.survivors = record_.survivors;
    if (!over && stop_) view.stop = stop_->progress();
    if (!over && evidence_) {
        const bool is_watched = view.stop && view.stop->open;
        view.connections = is_watched ? view.stop->open : evidence_->count();
        view.ports = evidence_->ports();
    }
    return view;
}

}  // namespace lastcall
