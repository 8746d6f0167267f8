#include "agent/helpers/aws/request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "agent/helpers/aws/excerpt.hpp"

namespace lastcall::aws {
namespace {

namespace json = boost::json;

struct Named {
    std::string_view name;
    Verb verb;
};
constexpr std::array verbs = {
    Named{"check", Verb::check},           Named{"register", Verb::register_target},
    Named{"deregister", Verb::deregister}, Named{"cancel", Verb::cancel},
    Named{"watch", Verb::watch},           Named{"complete", Verb::complete},
};

/// The text under a key; nullopt if there is none.
std::optional<std::string> text(const json::object& object, const char* key) {
    const auto* const found = object.if_contains(key);
    if (found == nullptr || !found->is_string()) return std::nullopt;
    return std::string(found->get_string().data(), found->get_string().size());
}

void take(const json::value& value, Heard& heard) {
    const auto* const object = value.if_object();
    const auto* const number = object == nullptr ? nullptr : object->if_contains("id");
    const auto* const id = number == nullptr ? nullptr : number->if_int64();
    if (id == nullptr || *id < 1) {
        heard.rest.push_back({std::nullopt, "it has no id, expected a whole number from 1"});
        return;
    }
    Request request{.id = *id};
    const std::string what = text(*object, "do").value_or("");
    const auto* const known = std::find_if(verbs.begin(), verbs.end(),
                                           [&](const Named& each) { return each.name == what; });
    if (known == verbs.end()) {
        heard.rest.push_back({*id, fmt::format("do is {}, expected check, register, deregister, "
                                               "cancel, watch or complete",
                                               quoted(what))});
        return;
    }
    request.verb = known->verb;
    request.url = text(*object, "url").value_or("");
    request.hook = text(*object, "hook").value_or("");
    request.result = text(*object, "result").value_or("");
    const auto* const spot = object->if_contains("spot");
    request.spot = spot != nullptr && spot->is_bool() && spot->get_bool();
    const bool needs_url = request.verb == Verb::check || request.verb == Verb::deregister ||
                           request.verb == Verb::register_target;
    if (needs_url && request.url.empty()) {
        heard.rest.push_back({*id, "it has no url"});
        return;
    }
    heard.requests.push_back(std::move(request));
}

}  // namespace

Heard parse_requests(std::string_view line) {
    Heard heard;
    boost::system::error_code error;
    const json::value value = json::parse({line.data(), line.size()}, error);
    if (error) {
        heard.rest.push_back({std::nullopt, "it is no JSON"});
    } else if (const auto* const batch = value.if_array()) {
        for (const auto& each : *batch) take(each, heard);
    } else {
        take(value, heard);
    }
    return heard;
}

}  // namespace lastcall::aws
