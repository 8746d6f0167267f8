#include "agent/helpers/aws/answer.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <chrono>

#include "agent/helpers/aws/excerpt.hpp"

namespace lastcall::aws {
namespace {

namespace json = boost::json;

constexpr std::size_t longest_text = 1000;

std::string line(const json::object& object) { return json::serialize(object) + "\n"; }

std::int64_t milliseconds(Clock::duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

std::string greeting_line() {
    return line({{"helper", "agent-lb-aws"},
                 {"version", LASTCALL_VERSION},
                 {"protocol", 1},
                 {"abilities", json::array{"register", "cancel", "batch", "watch"}}});
}

std::string state_line(std::int64_t id, const std::string& state) {
    return line({{"id", id}, {"state", state}});
}

std::string known_line(std::int64_t id, const Known& known) {
    json::object object{{"id", id}, {"state", "known"}, {"knows", known.knows}};
    if (known.settle) object["settleMs"] = milliseconds(*known.settle);
    if (known.delay) object["delayMs"] = milliseconds(*known.delay);
    // ECS and Auto Scaling register what they start; nobody shall be registered twice unasked.
    object["register"] = false;
    if (known.port) object["port"] = *known.port;
    if (!known.target.empty()) object["target"] = excerpt(known.target, longest_text);
    if (!known.warning.empty()) object["warning"] = excerpt(known.warning, longest_text);
    return line(object);
}

std::string notice_line(std::int64_t id, const Notice& notice) {
    json::object object{{"id", id}, {"notice", notice.code}};
    object["reason"] = excerpt(notice.reason, longest_text);
    if (!notice.at.empty()) object["at"] = notice.at;
    return line(object);
}

std::string note_line(std::int64_t id, const std::string& note) {
    return line({{"id", id}, {"note", excerpt(note, longest_text)}});
}

std::string error_line(std::int64_t id, const std::string& error, bool retry) {
    return line({{"id", id}, {"error", excerpt(error, longest_text)}, {"retry", retry}});
}

}  // namespace lastcall::aws
