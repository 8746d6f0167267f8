#include "agent/config/secrets.hpp"

#include <algorithm>

namespace lastcall {
namespace {

constexpr std::string_view mask = "***";

bool is_secret(std::string_view parameter) {
    constexpr std::string_view words[] = {"pass",       "token",  "secret",
                                          "credential", "apikey", "accesskey"};
    std::string plain;
    for (const char c : parameter) {
        if (c >= 'A' && c <= 'Z') plain += static_cast<char>(c - 'A' + 'a');
        if (c >= 'a' && c <= 'z') plain += c;  // "api-key", "api_key" and "apiKey" alike
    }
    return plain == "key" || std::any_of(std::begin(words), std::end(words), [&](auto word) {
               return plain.find(word) != std::string::npos;
           });
}

/// "a=1&token=x" with its secrets masked.
std::string masked_query(std::string_view query) {
    std::string shown;
    while (!query.empty()) {
        const auto parameter = query.substr(0, query.find('&'));
        query.remove_prefix(parameter.size());
        const auto equals = parameter.find('=');
        const bool secret =
            equals != std::string_view::npos && is_secret(parameter.substr(0, equals));
        shown += secret ? parameter.substr(0, equals + 1) : parameter;
        if (secret) shown += mask;
        if (query.empty()) break;
        shown += '&';
        query.remove_prefix(1);
    }
    return shown;
}

}  // namespace

std::string without_secrets(std::string_view url) {
    const auto question = url.find('?');
    const auto address = url.substr(0, question);
    std::string shown;
    // A password may hold '/' and '@' although it mustn't: everything up to the last '@' is masked,
    // unless there is no authority at all and the '@' is a file's name ("haproxy:///run/a@b.sock").
    const auto colon = address.find(':');
    const auto at = address.rfind('@');
    const bool has_user = at != std::string_view::npos && colon != std::string_view::npos &&
                          colon < at && !address.substr(colon).starts_with(":///");
    if (has_user) {
        const auto slashes = address.substr(colon + 1).starts_with("//") ? 2u : 0u;
        shown += address.substr(0, colon + 1 + slashes);
        shown += mask;
        shown += address.substr(at);
    } else {
        shown += address;
    }
    if (question == std::string_view::npos) return shown;
    return shown + "?" + masked_query(url.substr(question + 1));
}

}  // namespace lastcall
