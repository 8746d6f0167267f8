#pragma once
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <string>

#include "agent/api/types.hpp"
#include "tests/unit/fake_agent.hpp"

// What a fake agent answers: records, tasks.
namespace lastcall::testing {

namespace json = boost::json;

inline const char* const long_ago = "2001-01-01T00:00:00.000000Z";
inline const char* const not_yet = "2999-01-01T00:00:00.000000Z";

inline json::object phase(const char* name, const char* outcome, double milliseconds) {
    json::object it = {{"phase", name}, {"startedAt", not_yet}, {"durationMs", milliseconds}};
    if (outcome) it["outcome"] = outcome;
    it["detail"] = json::object();
    return it;
}

/// A record that was requested just after we asked, so that it is our own.
inline json::object record(const char* task, const char* outcome, json::array phases) {
    json::object it = {{"id", "1"},
                       {"task", task},
                       {"stopCode", "UserInitiated"},
                       {"stoppedReason", "Task stopped by user"},
                       {"requestedBy", {{"uid", 0}, {"pid", 9}, {"via", "api"}}},
                       {"requestedAt", not_yet},
                       {"durationMs", 1500},
                       {"survivors", 0},
                       {"deregistrationDelayMs", 0},
                       {"savedMs", 0},
                       {"containers", json::array()},
                       {"phases", std::move(phases)}};
    if (outcome) it["outcome"] = outcome;
    return it;
}

inline json::object task(const char* name, const char* status, json::value stopping = nullptr) {
    json::object it = {
        {"name", name},
        {"id", "1"},
        {"lastStatus", status},
        {"desiredStatus", status},
        {"createdAt", long_ago},
        {"containers", json::array{{{"name", name}, {"pid", 4711}, {"command", {"x"}}}}},
        {"loadBalancers", json::array()},
        {"ports", json::array()},
        {"deregistrationDelayMs", 0}};
    if (!stopping.is_null()) it["stopping"] = std::move(stopping);
    return it;
}

inline std::string ok(const json::value& value) { return http(200, api::to_text(value)); }

/// As text: a 2 that was written as 2.0 is still a 2.
inline bool same(const std::string& printed, const json::value& value) {
    return api::to_text(json::parse(printed)) == api::to_text(value);
}

inline json::object killed_at_once(const char* name) {
    return record(name, "killed", {phase("SIGKILL", "completed", 2)});
}

inline json::object quick(const char* name) {
    return record(name, "graceful", {phase("SIGTERM", "completed", 2)});
}

}  // namespace lastcall::testing
