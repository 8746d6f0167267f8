#pragma once
#include <functional>
#include <optional>
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
    std::string started_at;                         ///< of this image of the agent
    std::optional<std::string> upgrade_failure;     ///< of the last upgrade that began
    std::optional<Clock::duration> silent;  ///< nobody was served for so long, for an upgrade
    /// Sees to it that `binary` (empty: our own path) takes over as soon as this was answered; what
    /// keeps it from that is thrown, Conflict or std::runtime_error. None: this agent can't.
    std::function<awaitable<void>(std::string binary)> upgrade;
};

/// The control API as a function: from a request to a response, never throwing.
awaitable<Response> answer(Context& context, Request request);

}  // namespace lastcall::api
