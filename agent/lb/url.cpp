#include "agent/lb/url.hpp"

#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>
#include <set>
#include <stdexcept>

#include "agent/config/duration.hpp"
#include "agent/config/typing_error.hpp"
#include "agent/config/url_text.hpp"

namespace lastcall {
namespace {

namespace urls = boost::urls;

/// In quotes and on one line, whatever it holds.
std::string quoted(std::string_view text) {
    constexpr std::size_t longest = 300;
    std::string result = "'";
    for (const char each : text.substr(0, longest)) {
        const auto byte = static_cast<unsigned char>(each);
        if (byte < 0x20 || byte == 0x7f) {
            result += fmt::format("\\x{:02x}", byte);
        } else {
            result += each;
        }
    }
    return result + (text.size() > longest ? "…'" : "'");
}

[[noreturn]] void refuse(const std::string& url, const std::string& why) {
    throw std::invalid_argument(fmt::format("cannot use load balancer {}: {}", quoted(url), why));
}

template <class Number>
std::optional<Number> number(std::string_view text, Number least, Number most) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    if (value < least || value > most) return std::nullopt;
    return value;
}

/// One parameter: its name, the scheme that has it (empty: all), and how it is taken. The reader
/// returns false if the value is none, and `expected` says what would have been.
struct Parameter {
    std::string_view name, scheme, expected;
    bool (*take)(LoadBalancerUrl& url, const std::string& value);
};

// HAProxy's own rule for names (invalid_char in its configuration parser). Nothing else may get
// into a command line of its runtime API, where `;` and newline begin a new command.
bool haproxy_name(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char each) {
        return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') ||
               (each >= '0' && each <= '9') || each == '-' || each == '_' || each == '.' ||
               each == ':';
    });
}

bool take_server(LoadBalancerUrl& url, const std::string& value) {
    const auto slash = value.find('/');
    if (slash == std::string::npos) return false;
    const std::string_view whole = value;
    if (!haproxy_name(whole.substr(0, slash)) || !haproxy_name(whole.substr(slash + 1)))
        return false;
    url.target = value;
    return true;
}

bool take_register(LoadBalancerUrl& url, const std::string& value) {
    url.registers = value == "1";
    return value == "0" || value == "1";
}

bool take_drain(LoadBalancerUrl& url, const std::string& value) {
    url.drain = drain_mode(value);
    return url.drain.has_value();
}

bool take_timeout(LoadBalancerUrl& url, const std::string& value) {
    url.timeout = parse_duration(value);
    return url.timeout && *url.timeout > 0s;
}

bool take_settle(LoadBalancerUrl& url, const std::string& value) {
    url.settle = parse_duration(value);
    return url.settle && *url.settle >= 0s;
}

bool take_port(LoadBalancerUrl& url, const std::string& value) {
    url.port = number<std::uint16_t>(value, 1, 65535);
    return url.port.has_value();
}

bool take_fail(LoadBalancerUrl& url, const std::string& value) {
    const auto status = number(value, 400U, 599U);
    url.fail = status.value_or(0);
    return status.has_value();
}

bool take_fails(LoadBalancerUrl& url, const std::string& value) {
    const auto count = number(value, 1U, 1000U);
    url.fails = count.value_or(0);
    return count.has_value();
}

/// The address was read before.
bool take_agent_check(LoadBalancerUrl& url, const std::string& value) {
    url.agent_check = number<std::uint16_t>(value, 1, 65535);
    return url.agent_check && *url.agent_check != url.endpoint.port();
}

constexpr std::array parameters = {
    Parameter{"server", "haproxy", "BACKEND/SERVER of letters, digits and - _ . :", take_server},
    Parameter{"register", "", "0 or 1", take_register},
    Parameter{"drain", "", "closed, strict, idle or none", take_drain},
    Parameter{"timeout", "", "a duration above 0, like 5s", take_timeout},
    Parameter{"settle", "", "a duration, like 100ms", take_settle},
    Parameter{"port", "", "a port, 1 to 65535", take_port},
    Parameter{"fail", "readiness", "an HTTP status, 400 to 599", take_fail},
    Parameter{"fails", "readiness", "a number of probes, 1 to 1000", take_fails},
    Parameter{"agent-check", "readiness", "a port, 1 to 65535, other than the URL's own",
              take_agent_check},
};

bool applies(const Parameter& parameter, const LoadBalancerUrl& url) {
    return parameter.scheme.empty() || parameter.scheme == url.scheme;
}

/// Not told to a helper: how long we wait for it, and for what, is our own affair.
bool is_ours_alone(std::string_view name) {
    return name == "register" || name == "drain" || name == "timeout" || name == "settle";
}

std::string unknown_parameter(const LoadBalancerUrl& url, const std::string& name) {
    std::string known;
    std::string_view nearest;
    std::size_t least = 3;
    for (const auto& each : parameters) {
        if (!applies(each, url)) continue;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", each.name);
        const std::size_t far = name.size() > 40 ? least : typing_errors(each.name, name);
        if (far < least) {
            least = far;
            nearest = each.name;
        }
    }
    const std::string which = fmt::format("unknown parameter {}", quoted(name));
    if (!nearest.empty()) return fmt::format("{}: did you mean '{}'?", which, nearest);
    return fmt::format("{}: expected one of {}", which, known);
}

void take_parameters(LoadBalancerUrl& url, urls::url_view parsed) {
    std::set<std::string> seen;
    for (const auto& each : parsed.params()) {
        const std::string name(each.key);
        const std::string value(each.value);
        if (url.is_helpers() && name != "port" && !is_ours_alone(name)) continue;
        const auto* known = std::find_if(
            parameters.begin(), parameters.end(),
            [&](const Parameter& one) { return one.name == name && applies(one, url); });
        if (known == parameters.end()) refuse(url.text, unknown_parameter(url, name));
        if (!seen.insert(name).second)
            refuse(url.text, fmt::format("parameter '{}' is there twice", name));
        if (!known->take(url, value)) {
            refuse(url.text,
                   fmt::format("{} is {}, expected {}", name, quoted(value), known->expected));
        }
    }
}

asio::ip::tcp::endpoint numeric_endpoint(const std::string& text, urls::url_view parsed) {
    asio::ip::address address;
    const std::string host(parsed.host());
    switch (parsed.host_type()) {
        case urls::host_type::ipv4:
            address = asio::ip::address_v4(parsed.host_ipv4_address().to_bytes());
            break;
        case urls::host_type::ipv6:
            address = asio::ip::address_v6(parsed.host_ipv6_address().to_bytes());
            break;
        default:
            refuse(text,
                   fmt::format("host is {}, expected a numeric address: names are not resolved",
                               quoted(host)));
    }
    if (!parsed.has_port()) {
        refuse(text, fmt::format("it has no port, expected {}:PORT", host));
    }
    const std::string digits(parsed.port());
    const auto port = number<std::uint16_t>(digits, 1, 65535);
    if (!port) refuse(text, fmt::format("port is {}, expected 1 to 65535", quoted(digits)));
    return {address, *port};
}

void take_haproxy_address(LoadBalancerUrl& url, urls::url_view parsed) {
    const std::string path(parsed.path());
    if (parsed.has_authority() && !parsed.host().empty()) {
        url.endpoint = numeric_endpoint(url.text, parsed);
        if (!path.empty() && path != "/") {
            refuse(url.text,
                   fmt::format("path is {}, expected none after a TCP address", quoted(path)));
        }
        return;
    }
    if (parsed.has_port() || path.size() < 2 || path.front() != '/' ||
        path.find('\0') != std::string::npos) {
        refuse(url.text, fmt::format("address is {}, expected haproxy:///PATH/TO/SOCKET or "
                                     "haproxy://ADDRESS:PORT",
                                     quoted(path)));
    }
    constexpr std::size_t longest = sizeof(sockaddr_un::sun_path) - 1;
    if (path.size() > longest) {
        refuse(url.text, fmt::format("socket path has {} bytes, expected at most {} (unix(7))",
                                     path.size(), longest));
    }
    url.socket_path = path;
}

void take_readiness_address(LoadBalancerUrl& url, urls::url_view parsed) {
    if (!parsed.has_authority()) {
        refuse(url.text, "it has no address, expected readiness://ADDRESS:PORT/PATH");
    }
    url.endpoint = numeric_endpoint(url.text, parsed);
    url.target = std::string(parsed.encoded_path());
    if (url.target.empty()) url.target = "/";
    // To Boost.URL 1.81 "127.0.0.1:8081.example" is a port with a path.
    if (url.target.front() != '/') {
        refuse(url.text,
               fmt::format("path is {}, expected one that begins with /", quoted(url.target)));
    }
}

/// The URL as its helper gets it.
void take_helpers_target(LoadBalancerUrl& url, urls::url_view parsed) {
    const std::string_view whole = url.text;
    const auto query = whole.find('?');
    url.target = whole.substr(0, query);
    char separator = '?';
    for (const auto& each : parsed.encoded_params()) {
        if (is_ours_alone(each.key)) continue;
        url.target += separator;
        url.target += each.key;
        if (each.has_value) url.target += fmt::format("={}", std::string_view(each.value));
        separator = '&';
    }
}

}  // namespace

std::string LoadBalancerUrl::load_balancer() const {
    if (is_helpers()) return scheme;
    if (!socket_path.empty()) return fmt::format("{}://{}", scheme, socket_path);
    const std::string address = endpoint.address().to_string();
    return fmt::format("{}://{}:{}", scheme,
                       endpoint.address().is_v6() ? fmt::format("[{}]", address) : address,
                       endpoint.port());
}

LoadBalancerUrl parse_load_balancer_url(const std::string& text) {
    constexpr auto no_url = "it is no URL, expected haproxy://…, readiness://… or SCHEME:…";
    if (!is_url_text(text)) refuse(text, no_url);
    const std::string whole = with_path(text);
    const auto result = urls::parse_uri(whole);
    if (!result) refuse(text, no_url);
    const urls::url_view parsed = *result;
    LoadBalancerUrl url;
    url.text = text;
    url.scheme = std::string(parsed.scheme());
    for (char& each : url.scheme)
        each = each >= 'A' && each <= 'Z' ? static_cast<char>(each | 0x20) : each;
    if (url.is_helpers()) {
        take_parameters(url, parsed);
        take_helpers_target(url, parsed);
        return url;
    }
    if (parsed.has_userinfo()) refuse(text, "it has a user name, expected none");
    if (parsed.has_fragment()) refuse(text, "it has a fragment (#), expected none");
    url.scheme == "haproxy" ? take_haproxy_address(url, parsed)
                            : take_readiness_address(url, parsed);
    take_parameters(url, parsed);
    if (url.target.empty()) refuse(text, "it has no server, expected server=BACKEND/SERVER");
    return url;
}

}  // namespace lastcall
