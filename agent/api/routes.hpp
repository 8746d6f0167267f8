#pragma once
#include <functional>
#include <string>

#include "agent/api/message.hpp"
#include "agent/config/settings.hpp"
#include "agent/journal/health.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/supervisor.hpp"

namespace lastcall::api {

/// What the handlers work with.
struct Context {
    Supervisor& supervisor;
    Journal& journal;
    const Configuration& configuration;
    /// A task definition from a request: the agent's settings, with what the request changes.
    /// Throws BadRequest.
    std::function<TaskDefinition(const struct RunRequest&)> define;
    std::string mode;  ///< "serve" or "run"; `run` takes no further tasks
    const JournalHealth* journal_health = nullptr;  ///< none: records are kept in memory alone
};

/// The control API as a function: from a request to a response, never throwing.
awaitable<Response> answer(Context& context, Request request);

}  // namespace lastcall::api
