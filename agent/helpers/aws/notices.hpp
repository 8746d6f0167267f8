#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "agent/helpers/aws/api.hpp"
#include "agent/helpers/aws/failure.hpp"
#include "agent/helpers/aws/metadata.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {

/// This machine is about to end.
struct Notice {
    std::string code;    ///< a stop code: "SpotInterruption", "TerminationNotice"
    std::string reason;  ///< for people
    std::string at;      ///< RFC 3339, UTC; empty: not said
};

/// What the instance's metadata says about a spot interruption ("spot/instance-action").
struct SpotAction {
    std::string action;  ///< "terminate", "stop", "hibernate"
    std::string time;    ///< empty if it isn't one
};

/// nullopt if that isn't what `body` says.
std::optional<SpotAction> parse_spot_action(std::string_view body);

/// Watches for the end of the instance we are on, and tells Auto Scaling when it may come.
class Notices {
 public:
    Notices(Clock& clock, asio::any_io_executor executor, Api& api, InstanceMetadata& instance)
        : clock_(clock), api_(api), instance_(instance), completing_(executor) {}

    using Tell = std::function<void(const Notice&)>;
    /// Looks every 5 s, until it is cancelled. Spot notices if `spot`; if `hook` ("GROUP/HOOK")
    /// isn't empty, termination by Auto Scaling, whose heartbeats it then sends until `complete`.
    /// Throws Failure, not to be retried, if `hook` is none.
    awaitable<void> watch(bool spot, std::string hook, Tell tell, Note note);
    /// Nothing runs here any more: the instance may go. `result` is CONTINUE or ABANDON. Without a
    /// hook there is nobody to be told. Throws Failure.
    awaitable<void> complete(std::string result, Note note);

 private:
    /// A hook of a group.
    struct Hook {
        std::string group, name;
    };
    static Hook parse_hook(const std::string& text);
    awaitable<void> watch_spot(Tell tell, Note note);
    awaitable<void> watch_hook(Tell tell, Note note);
    /// What stands at that path of the metadata; trouble is noted once.
    awaitable<std::optional<std::string>> look(std::string path, Note note);
    awaitable<void> heartbeats(Note note);
    awaitable<Clock::duration> heartbeat_interval(Note note);
    awaitable<std::string> call(std::string action, Query query, Note note,
                                Clock::duration at_most);
    awaitable<Query> about_instance(std::string action);
    awaitable<std::string> name_of_instance();

    Clock& clock_;
    Api& api_;
    InstanceMetadata& instance_;
    std::optional<Hook> hook_;
    std::string trouble_;
    Event completing_;
};

}  // namespace lastcall::aws
