#include "agent/helpers/aws/target_url.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>
#include <set>
#include <vector>

#include "agent/config/typing_error.hpp"
#include "agent/config/url_text.hpp"
#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/failure.hpp"
#include "agent/helpers/aws/service.hpp"

namespace lastcall::aws {
namespace {

constexpr const char* arn_form =
    "arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/NUMBER";

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
    throw Failure(fmt::format("{} isn't understood: {}", quoted(text, 300), why), false);
}

/// One parameter: its name, the scheme that has it, and how it is taken. The reader returns false
/// if the value is none.
struct Parameter {
    std::string_view name, scheme, expected;
    bool (*take)(TargetUrl& url, const std::string& value);
};

bool plain(const std::string& text) {
    return !text.empty() && text.size() <= 255 && is_url_text(text);
}

bool take_arn(TargetUrl& url, const std::string& value) {
    std::vector<std::string> parts(1);
    for (const char c : value) {
        c == ':' && parts.size() < 6 ? parts.emplace_back() : parts.back() += c;
    }
    if (!plain(value) || parts.size() != 6 || parts[0] != "arn" || parts[1].empty()) return false;
    if (parts[2] != "elasticloadbalancing" || !is_region(parts[3]) || parts[4].empty())
        return false;
    constexpr std::string_view kind = "targetgroup/";
    const auto slash = parts[5].find('/', kind.size());
    if (!parts[5].starts_with(kind) || slash == std::string::npos || slash + 1 == parts[5].size()) {
        return false;
    }
    url.name = parts[5].substr(kind.size(), slash - kind.size());
    url.arn = value;
    url.region = parts[3];
    return !url.name.empty();
}

bool take_name(TargetUrl& url, const std::string& value) {
    url.name = value;
    return plain(value);
}

bool take_id(TargetUrl& url, const std::string& value) {
    url.id = value;
    return plain(value);
}

bool take_port(TargetUrl& url, const std::string& value) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), port);
    url.port = port;
    return error == std::errc{} && end == value.data() + value.size() && port != 0;
}

constexpr std::array parameters = {
    Parameter{"target-group-arn", "elbv2", arn_form, take_arn},
    Parameter{"target-id", "elbv2", "an address or an instance's id", take_id},
    Parameter{"port", "elbv2", "a port, 1 to 65535", take_port},
    Parameter{"name", "elb", "a load balancer's name", take_name},
    Parameter{"instance-id", "elb", "an instance's id", take_id},
};

std::string unknown(const std::string& scheme, const std::string& name) {
    std::string all, nearest;
    std::size_t least = 4;
    for (const auto& each : parameters) {
        if (each.scheme != scheme) continue;
        all += fmt::format("{}{}", all.empty() ? "" : ", ", each.name);
        const std::size_t far = name.size() > 40 ? least : typing_errors(each.name, name);
        if (far >= least) continue;
        least = far;
        nearest = each.name;
    }
    const std::string which = fmt::format("unknown parameter {}", quoted(name));
    if (!nearest.empty()) return fmt::format("{}: did you mean '{}'?", which, nearest);
    return fmt::format("{}: expected one of {}", which, all);
}

void take_parameters(TargetUrl& url, boost::urls::url_view parsed) {
    std::set<std::string> seen;
    for (const auto& each : parsed.params()) {
        const std::string name(each.key), value(each.value);
        const auto* const known = std::find_if(
            parameters.begin(), parameters.end(),
            [&](const Parameter& one) { return one.name == name && one.scheme == url.scheme; });
        if (known == parameters.end()) refuse(url.text, unknown(url.scheme, name));
        if (!seen.insert(name).second) {
            refuse(url.text, fmt::format("parameter '{}' is there twice", name));
        }
        if (!known->take(url, value)) {
            refuse(url.text,
                   fmt::format("{} is {}, expected {}", name, quoted(value), known->expected));
        }
    }
}

}  // namespace

TargetUrl parse_target_url(const std::string& text) {
    if (!is_url_text(text)) refuse(text, "a URL has neither white space nor anything beyond ASCII");
    const auto colon = text.find(':');
    if (colon == std::string::npos) refuse(text, "it is no URL, expected elbv2:?… or elb:?…");
    TargetUrl url{.text = text, .scheme = text.substr(0, colon)};
    for (char& c : url.scheme) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    if (url.scheme != "elbv2" && url.scheme != "elb") {
        refuse(text, fmt::format("the scheme is {}, expected elbv2 or elb", quoted(url.scheme)));
    }
    // Asked before Boost.URL is, whose 1.81 asserts on some paths.
    if (text.size() <= colon + 1 || text[colon + 1] != '?') {
        refuse(text,
               fmt::format("expected {}:?… and nothing before the question mark", url.scheme));
    }
    const std::string whole = with_path(text);
    const auto parsed = boost::urls::parse_uri(whole);
    if (!parsed) refuse(text, "its query is malformed, expected NAME=VALUE&NAME=VALUE…");
    if (parsed->has_fragment()) refuse(text, "it has a fragment (#), expected none");
    take_parameters(url, *parsed);
    if (url.scheme == "elbv2" && url.arn.empty()) {
        refuse(text, fmt::format("it has no target group, expected target-group-arn={}", arn_form));
    }
    if (url.name.empty()) refuse(text, "it has no load balancer, expected name=NAME");
    return url;
}

}  // namespace lastcall::aws
