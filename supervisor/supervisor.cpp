#include "supervisor/supervisor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <map>

#include "supervisor/registration.hpp"

namespace lastcall {
namespace {

/// Everything about one task. Two own it: the table, and its life (a restart replaces it there).
struct Task {
    Task(asio::any_io_executor executor, TaskState initial)
        : state(std::move(initial)), over(executor), ended(executor), running(executor) {}

    TaskState state;
    std::vector<std::unique_ptr<Process>> processes;
    std::unique_ptr<Evidence> evidence;
    std::vector<Watch> watches;
    std::unique_ptr<Stop> stop;  ///< asked for, or going on
    StopRecord record;           ///< of the stop, when it has ended
    Event over;                  ///< somebody asked for a stop, or it ended by itself
    Event ended;                 ///< the record is complete
    Gate running;                ///< what goes on until a stop begins
};

}  // namespace

class Supervisor::Impl {
 public:
    explicit Impl(Surroundings surroundings)
        : around_(std::move(surroundings)), lives_(around_.executor) {}

    std::shared_ptr<Task> define(TaskDefinition definition, std::string id);
    void launch(Task& task);
    void begin(std::shared_ptr<Task> task);
    Task& find(const std::string& name);
    std::shared_ptr<Task> share(const std::string& name);
    void request_stop(Task& task, const StopRequest& request);
    TaskView view(Task& task);
    awaitable<void> record(const TaskState& state);

    Surroundings around_;
    std::map<std::string, std::shared_ptr<Task>> tasks_;
    Gate lives_;
    bool closing_ = false;

 private:
    awaitable<void> live(std::shared_ptr<Task> task);
    awaitable<void> watch_exit(Task& task, Process& process);
    void prepare_stop(Task& task, const StopRequest& request);
    void note_exits(Task& task);
};

std::shared_ptr<Task> Supervisor::Impl::define(TaskDefinition definition, std::string id) {
    if (closing_) throw Conflict("cannot start a task: the agent is shutting down");
    if (const auto trouble = name_trouble(definition.name)) throw BadRequest(*trouble);
    const auto there = tasks_.find(definition.name);
    if (there != tasks_.end() && there->second->state.last_status != TaskStatus::stopped) {
        throw Conflict(fmt::format("cannot start '{}': a task of that name is {}", definition.name,
                                   to_string(there->second->state.last_status)));
    }
    auto memberships = around_.memberships(definition);
    auto task =
        std::make_shared<Task>(around_.executor, TaskState{.id = std::move(id),
                                                           .definition = std::move(definition),
                                                           .created_at = around_.clock.utc()});
    for (auto& membership : memberships) {
        const DrainMode mode = membership.drain.value_or(task->state.definition.stop.drain);
        const bool registered = !membership.registers;
        task->watches.push_back(
            {.membership = std::move(membership), .mode = mode, .registered = registered});
    }
    for (const auto& container : task->state.definition.containers) {
        task->state.containers.push_back({.name = container.name});
    }
    return task;
}

void Supervisor::Impl::launch(Task& task) {
    const auto& containers = task.state.definition.containers;
    for (std::size_t index = 0; index < containers.size(); ++index) {
        task.processes.push_back(around_.launcher.launch(containers[index], task.state.id));
    }
}

/// The task runs from here on: it has a life, which ends with its record.
void Supervisor::Impl::begin(std::shared_ptr<Task> task) {
    std::vector<Process*> processes;
    for (std::size_t index = 0; index < task->processes.size(); ++index) {
        task->state.containers[index].pid = task->processes[index]->id();
        processes.push_back(task->processes[index].get());
    }
    task->evidence = around_.evidence(task->state.definition, processes);
    for (const auto& watch : task->watches) {
        if (watch.membership.port) task->evidence->named(*watch.membership.port);
    }
    task->state.last_status = TaskStatus::running;
    task->state.started_at = around_.clock.utc();
    tasks_[task->state.definition.name] = task;
    lives_.spawn(live(task), [this, task](std::exception_ptr error) {
        // One of the four places where failures end: what escapes a task's life is its reason.
        try {
            std::rethrow_exception(error);
        } catch (...) {
            task->state.stopped_reason = failure_text();
        }
        around_.log.say(
            Level::crit, "Life of a task ended by a failure",
            {{"task", task->state.definition.name}, {"error", task->state.stopped_reason}});
        task->ended.set();
    });
}

awaitable<void> Supervisor::Impl::live(std::shared_ptr<Task> task) {
    co_await record(task->state);
    for (auto& watch : task->watches) {
        task->running.spawn(register_when_listening({.clock = around_.clock,
                                                     .log = around_.log,
                                                     .evidence = *task->evidence,
                                                     .task = task->state.definition.name},
                                                    watch),
                            {});
    }
    for (std::size_t index = 0; index < task->processes.size(); ++index) {
        if (!task->state.definition.containers[index].essential) continue;
        task->running.spawn(watch_exit(*task, *task->processes[index]), {});
    }
    co_await task->over.wait();
    if (!task->stop) {
        prepare_stop(*task, {.code = StopCode::essential_container_exited,
                             .reason = "Essential container in task exited",
                             .by = {.via = "exit"}});
    }
    task->running.cancel();
    co_await task->running.close();
    task->record = co_await task->stop->run();
    note_exits(*task);
    if (task->state.last_status == TaskStatus::stopped)
        task->state.stopped_at = around_.clock.utc();
    co_await record(task->state);
    task->ended.set();
    for (const auto& process : task->processes) co_await process->empty();
    task->state.last_status = TaskStatus::stopped;  // an unkillable one, in the end
    if (!task->state.stopped_at) task->state.stopped_at = around_.clock.utc();
    task->stop.reset();  // what it held is free for the next task of that name
    task->watches.clear();
    co_await around_.clock.sleep_until(after(around_.clock.now(), around_.cleanup_wait));
    const auto there = tasks_.find(task->state.definition.name);
    if (there != tasks_.end() && there->second == task) tasks_.erase(there);
}

awaitable<void> Supervisor::Impl::watch_exit(Task& task, Process& process) {
    co_await process.exit();
    task.over.set();
}

void Supervisor::Impl::prepare_stop(Task& task, const StopRequest& request) {
    std::vector<Watch> watches;
    const bool by_itself = request.code == StopCode::essential_container_exited;
    for (const auto& watch : task.watches) {
        // A task that ended by itself takes back what we did, and no more.
        if (by_itself && !(watch.registered && watch.membership.registers)) continue;
        // One that couldn't be told of the task may know of it all the same.
        const bool known = watch.registered || !watch.error.empty();
        watches.push_back(
            {.membership = watch.membership, .mode = watch.mode, .registered = known});
    }
    std::vector<StoppingContainer> containers;
    const auto& definitions = task.state.definition.containers;
    for (std::size_t index = 0; index < definitions.size(); ++index) {
        StoppingContainer container{.name = definitions[index].name,
                                    .process = *task.processes[index],
                                    .essential = definitions[index].essential,
                                    .stop_timeout = definitions[index].stop_timeout};
        for (std::size_t other = 0; other < definitions.size(); ++other) {
            const auto& needs = definitions[other].depends_on;
            if (std::find(needs.begin(), needs.end(), container.name) != needs.end()) {
                container.after.push_back(other);
            }
        }
        containers.push_back(std::move(container));
    }
    task.state.stop_code = request.code;
    task.state.stopped_reason = request.reason;
    task.state.desired_status = TaskStatus::stopped;
    task.stop = std::make_unique<Stop>(StopScene{.executor = around_.executor,
                                                 .clock = around_.clock,
                                                 .journal = around_.journal,
                                                 .log = around_.log,
                                                 .launcher = around_.launcher,
                                                 .evidence = *task.evidence,
                                                 .task = task.state,
                                                 .watches = std::move(watches),
                                                 .containers = std::move(containers),
                                                 .id = around_.new_id()},
                                       request);
}

void Supervisor::Impl::request_stop(Task& task, const StopRequest& request) {
    if (task.ended.is_set()) return;
    if (task.stop) return task.stop->join(request);
    prepare_stop(task, request);
    task.over.set();
}

void Supervisor::Impl::note_exits(Task& task) {
    for (std::size_t index = 0; index < task.record.containers.size(); ++index) {
        task.state.containers[index].exit = task.record.containers[index].exit;
        task.state.containers[index].reason = task.record.containers[index].reason;
    }
}

// ---------------------------------------------------------------------------------- the table

Task& Supervisor::Impl::find(const std::string& name) { return *share(name); }

std::shared_ptr<Task> Supervisor::Impl::share(const std::string& name) {
    const auto there = tasks_.find(name);
    if (there == tasks_.end()) throw NoSuchTask(fmt::format("there is no task '{}'", name));
    return there->second;
}

TaskView Supervisor::Impl::view(Task& task) {
    TaskView view{.state = task.state};
    const bool over = task.ended.is_set();
    if (over) view.survivors = task.record.survivors;
    if (!over && task.stop) view.stop = task.stop->progress();
    if (!over && task.evidence) {
        const bool is_watched = view.stop && view.stop->open;
        view.connections = is_watched ? view.stop->open : task.evidence->count();
        view.ports = task.evidence->ports();
    }
    return view;
}

/// A journal that fails refuses nothing here: the task runs already.
awaitable<void> Supervisor::Impl::record(const TaskState& state) {
    try {
        co_await around_.journal.record(state);
    } catch (...) {
        around_.log.say(Level::error, "Task could not be recorded",
                        {{"task", state.definition.name}, {"error", failure_text()}});
    }
}

Supervisor::Supervisor(Surroundings surroundings)
    : impl_(std::make_unique<Impl>(std::move(surroundings))) {}

Supervisor::~Supervisor() = default;

awaitable<TaskView> Supervisor::start(TaskDefinition definition) {
    auto task = impl_->define(std::move(definition), impl_->around_.new_id());
    std::exception_ptr failure;
    try {
        impl_->launch(*task);
    } catch (...) {
        failure = std::current_exception();
        task->state.last_status = task->state.desired_status = TaskStatus::stopped;
        task->state.stop_code = StopCode::task_failed_to_start;
        task->state.stopped_reason = failure_text();
        task->state.stopped_at = impl_->around_.clock.utc();
    }
    if (failure) {
        for (const auto& process : task->processes) process->signal(SIGKILL, SignalScope::tree);
        auto& container = task->state.containers[task->processes.size()];
        container.reason = "CannotStartContainerError: " + task->state.stopped_reason;
        task->ended.set();
        impl_->tasks_[task->state.definition.name] = task;
        co_await impl_->record(task->state);
        std::rethrow_exception(failure);
    }
    impl_->begin(task);
    co_return impl_->view(*task);
}

void Supervisor::start_with(TaskDefinition definition, std::string task_id,
                            std::unique_ptr<Process> process) {
    auto task = impl_->define(std::move(definition), std::move(task_id));
    task->processes.push_back(std::move(process));
    impl_->begin(std::move(task));
}

void Supervisor::request_stop(const std::string& name, const StopRequest& request) {
    impl_->request_stop(impl_->find(name), request);
}

awaitable<StopRecord> Supervisor::stopped(std::string name) {
    const auto task = impl_->share(name);
    co_await task->ended.wait();
    co_return task->record;
}

awaitable<TaskView> Supervisor::restart(std::string name, StopRequest request) {
    const auto task = impl_->share(name);
    impl_->request_stop(*task, request);
    co_await task->ended.wait();
    if (task->state.last_status != TaskStatus::stopped) {
        throw std::runtime_error(fmt::format("cannot restart '{}': it could not be stopped", name));
    }
    auto definition = task->state.definition;
    auto starting = start(std::move(definition));
    co_return co_await std::move(starting);
}

void Supervisor::signal(const std::string& name, int number) {
    Task& task = impl_->find(name);
    if (task.ended.is_set()) {
        throw BadRequest(
            fmt::format("cannot signal '{}': it is {}", name, to_string(task.state.last_status)));
    }
    for (const auto& process : task.processes) process->signal(number, SignalScope::main);
}

void Supervisor::forget(const std::string& name) {
    Task& task = impl_->find(name);
    if (task.state.last_status != TaskStatus::stopped) {
        throw Conflict(fmt::format("cannot forget '{}': it is {}, stop it first", name,
                                   to_string(task.state.last_status)));
    }
    impl_->tasks_.erase(name);
}

TaskView Supervisor::view(const std::string& name) { return impl_->view(impl_->find(name)); }

std::vector<TaskView> Supervisor::views() {
    std::vector<TaskView> views;
    for (const auto& [name, task] : impl_->tasks_) views.push_back(impl_->view(*task));
    return views;
}

std::vector<TaskBrief> Supervisor::briefs() const {
    std::vector<TaskBrief> briefs;
    for (const auto& [name, task] : impl_->tasks_) {
        TaskBrief brief{.status = task->state.last_status, .definition = &task->state.definition};
        if (task->stop && !task->ended.is_set()) {
            const auto progress = task->stop->progress();
            brief.stopping = {.next = progress.next, .next_in = progress.next_in};
        }
        briefs.push_back(brief);
    }
    return briefs;
}

awaitable<std::vector<StopRecord>> Supervisor::shut_down(StopRequest request) {
    impl_->closing_ = true;
    std::vector<std::shared_ptr<Task>> tasks;
    for (const auto& [name, task] : impl_->tasks_) {
        if (!task->ended.is_set()) tasks.push_back(task);
    }
    for (const auto& task : tasks) impl_->request_stop(*task, request);
    std::vector<StopRecord> records;
    for (const auto& task : tasks) {
        co_await task->ended.wait();
        records.push_back(task->record);
    }
    impl_->lives_.cancel();
    co_await impl_->lives_.close();
    co_return records;
}

}  // namespace lastcall
