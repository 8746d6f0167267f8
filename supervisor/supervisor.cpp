#include "supervisor/supervisor.hpp"

#include <fmt/format.h>

#include <map>

namespace lastcall {

class Supervisor::Impl {
 public:
    explicit Impl(Surroundings surroundings)
        : around_(std::move(surroundings)), lives_(around_.executor) {}

    std::shared_ptr<Life> define(TaskDefinition definition, std::string id);
    void begin(const std::shared_ptr<Life>& task);
    std::shared_ptr<Life> find(const std::string& name);

    Surroundings around_;
    /// Two own a task: the table, and its life (a restart replaces it there).
    std::map<std::string, std::shared_ptr<Life>> tasks_;
    Gate lives_;
    std::string closed_;  ///< why no task may be started; empty: they may

 private:
    awaitable<void> live(std::shared_ptr<Life> task);
};

std::shared_ptr<Life> Supervisor::Impl::define(TaskDefinition definition, std::string id) {
    if (!closed_.empty()) throw Conflict(fmt::format("cannot start a task: {}", closed_));
    if (const auto trouble = name_trouble(definition.name)) throw BadRequest(*trouble);
    const auto there = tasks_.find(definition.name);
    if (there != tasks_.end() && there->second->state().last_status != TaskStatus::stopped) {
        throw Conflict(fmt::format("cannot start '{}': a task of that name is {}", definition.name,
                                   to_string(there->second->state().last_status)));
    }
    return std::make_shared<Life>(around_, TaskState{.id = std::move(id),
                                                     .definition = std::move(definition),
                                                     .created_at = around_.clock.utc()});
}

/// It has a life from here on, which ends with its record.
void Supervisor::Impl::begin(const std::shared_ptr<Life>& task) {
    tasks_[task->state().definition.name] = task;
    lives_.spawn(live(task), [task](std::exception_ptr error) {
        // One of the four places where failures end: what escapes a task's life is its reason.
        try {
            std::rethrow_exception(error);
        } catch (...) {
            task->failed(failure_text());
        }
    });
}

awaitable<void> Supervisor::Impl::live(std::shared_ptr<Life> task) {
    co_await task->live();
    const auto there = tasks_.find(task->state().definition.name);
    if (there != tasks_.end() && there->second == task) tasks_.erase(there);
}

std::shared_ptr<Life> Supervisor::Impl::find(const std::string& name) {
    const auto there = tasks_.find(name);
    if (there == tasks_.end()) throw NoSuchTask(fmt::format("there is no task '{}'", name));
    return there->second;
}

Supervisor::Supervisor(Surroundings surroundings)
    : impl_(std::make_unique<Impl>(std::move(surroundings))) {}

Supervisor::~Supervisor() = default;

awaitable<TaskView> Supervisor::start(TaskDefinition definition) {
    const auto task = impl_->define(std::move(definition), impl_->around_.new_id());
    const std::string name = task->state().definition.name;
    impl_->tasks_[name] = task;
    co_await task->record();  // before its command runs: whoever comes after us finds it
    std::exception_ptr failure;
    try {
        co_await task->introduce();
        if (task->is_unwanted()) {
            throw Conflict(fmt::format("cannot start '{}': it was to be stopped at once", name));
        }
        task->launch();
    } catch (...) {
        failure = std::current_exception();
        task->failed_to_start(failure_text());
    }
    if (failure) {
        co_await task->record();
        std::rethrow_exception(failure);
    }
    impl_->begin(task);
    co_return task->view();
}

void Supervisor::start_with(TaskDefinition definition, std::string task_id,
                            std::unique_ptr<Process> process) {
    const auto task = impl_->define(std::move(definition), std::move(task_id));
    task->launched(std::move(process));
    impl_->begin(task);
}

awaitable<void> Supervisor::adopt() {
    auto& around = impl_->around_;
    const auto since = around.clock.utc() - around.cleanup_wait;
    auto remnants = co_await around.journal.remnants(since);
    std::vector<std::shared_ptr<Life>> tasks;
    for (auto& remnant : remnants) {
        const std::string name = remnant.task.definition.name;
        // Caught here: one that can't be supervised (no descriptor is left) hides no other.
        try {
            tasks.push_back(std::make_shared<Life>(around, std::move(remnant)));
        } catch (...) {
            around.log.say(Level::error, "Task of the journal is not supervised",
                           {{"task", name}, {"error", failure_text()}});
        }
    }
    // All of them are there before anything goes on: until then no exit is anybody's.
    for (const auto& task : tasks) {
        const auto& state = task->state();
        impl_->begin(task);
        if (task->has_ended()) continue;
        around.log.say(Level::info, "Task goes on with this agent",
                       {{"task", state.definition.name},
                        {"knownStatus", std::string(to_string(state.last_status))},
                        {"desiredStatus", std::string(to_string(state.desired_status))}});
    }
}

void Supervisor::request_stop(const std::string& name, const StopRequest& request) {
    impl_->find(name)->request_stop(request);
}

awaitable<StopRecord> Supervisor::stopped(std::string name) {
    const auto task = impl_->find(name);
    co_await task->end();
    co_return task->last_stop();
}

awaitable<TaskView> Supervisor::restart(std::string name, StopRequest request) {
    const auto task = impl_->find(name);
    task->request_stop(request);
    co_await task->end();
    if (task->state().last_status != TaskStatus::stopped) {
        throw std::runtime_error(fmt::format("cannot restart '{}': it could not be stopped", name));
    }
    auto definition = task->state().definition;
    auto starting = start(std::move(definition));
    co_return co_await std::move(starting);
}

void Supervisor::signal(const std::string& name, int number) {
    const auto task = impl_->find(name);
    if (task->has_ended()) {
        throw BadRequest(fmt::format("cannot signal '{}': it is {}", name,
                                     to_string(task->state().last_status)));
    }
    task->signal(number);
}

void Supervisor::forget(const std::string& name) {
    const auto task = impl_->find(name);
    if (task->state().last_status != TaskStatus::stopped) {
        throw Conflict(fmt::format("cannot forget '{}': it is {}, stop it first", name,
                                   to_string(task->state().last_status)));
    }
    impl_->tasks_.erase(name);
}

TaskView Supervisor::view(const std::string& name) { return impl_->find(name)->view(); }

std::vector<TaskView> Supervisor::views() {
    std::vector<TaskView> views;
    for (const auto& [name, task] : impl_->tasks_) views.push_back(task->view());
    return views;
}

std::vector<TaskBrief> Supervisor::briefs() const {
    std::vector<TaskBrief> briefs;
    for (const auto& [name, task] : impl_->tasks_) briefs.push_back(task->brief());
    return briefs;
}

void Supervisor::refuse_new(std::string why) { impl_->closed_ = std::move(why); }

awaitable<std::vector<StopRecord>> Supervisor::shut_down(StopRequest request) {
    refuse_new("the agent is shutting down");
    std::vector<std::shared_ptr<Life>> tasks;
    for (const auto& [name, task] : impl_->tasks_) {
        if (!task->has_ended()) tasks.push_back(task);
    }
    for (const auto& task : tasks) task->request_stop(request);
    std::vector<StopRecord> records;
    for (const auto& task : tasks) {
        co_await task->end();
        records.push_back(task->last_stop());
    }
    impl_->lives_.cancel();
    co_await impl_->lives_.close();
    co_return records;
}

}  // namespace lastcall
