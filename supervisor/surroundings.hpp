#pragma once
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "supervisor/clock.hpp"
#include "supervisor/connections.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/load_balancer.hpp"
#include "supervisor/log.hpp"
#include "supervisor/process.hpp"
#include "supervisor/task.hpp"

namespace lastcall {

/// The caller is wrong: the text is for a human.
class BadRequest : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};
/// The name is taken by a task that isn't STOPPED.
class Conflict : public BadRequest {
 public:
    using BadRequest::BadRequest;
};
/// There is no task of that name.
class NoSuchTask : public BadRequest {
 public:
    using BadRequest::BadRequest;
};

/// Everything concrete that the supervisor works with; chosen in agent/.
struct Surroundings {
    asio::any_io_executor executor;
    Clock& clock;
    Journal& journal;
    Log& log;
    Launcher& launcher;
    /// Understands a task's load balancer URLs. Throws BadRequest for one it can't.
    std::function<std::vector<Membership>(const TaskDefinition&)> memberships;
    /// The same for a task that an earlier agent has left: one that isn't understood any more is
    /// among them, and refuses everything. May be empty: then all or none are understood.
    std::function<std::vector<Membership>(const TaskDefinition&)> memberships_left;
    /// A load balancer has told what only it knows of a task's membership. May be empty.
    std::function<void(const TaskDefinition&, const Membership&)> introduced;
    /// The kernel's word on one task; `processes` are its containers' processes.
    std::function<std::unique_ptr<Evidence>(const TaskDefinition&, std::vector<Process*> processes)>
        evidence;
    /// A random id, unique for ever: 32 hex digits.
    std::function<std::string()> new_id;
    Clock::duration cleanup_wait = std::chrono::hours(3);  ///< a STOPPED task stays in `ps`
};

}  // namespace lastcall
