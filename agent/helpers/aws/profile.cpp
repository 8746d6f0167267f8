#include "agent/helpers/aws/profile.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "agent/helpers/aws/excerpt.hpp"

namespace lastcall::aws {
namespace {

constexpr std::string_view blank = " \t\r";

std::string trimmed(std::string_view text) {
    const auto begin = text.find_first_not_of(blank);
    if (begin == std::string_view::npos) return "";
    return std::string(text.substr(begin, text.find_last_not_of(blank) - begin + 1));
}

std::string path_of(const Surroundings& around, const char* variable, const char* usual) {
    std::string path = around.variable(variable).value_or(usual);
    if (path.starts_with("~/")) path = around.home() + path.substr(1);
    return path;
}

Sections sections_of(const Surroundings& around, const std::string& path) {
    const auto text = around.file(path);
    return text ? parse_sections(*text, path) : Sections();
}

}  // namespace

Sections parse_sections(std::string_view text, const std::string& path) {
    Sections sections;
    std::map<std::string, std::string>* section = nullptr;
    std::string parent;
    std::size_t count = 0;
    const auto refuse = [&](const char* expected) {
        throw std::runtime_error(
            fmt::format("cannot read {}: line {} is {}", path, count, expected));
    };
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    while (!text.empty()) {
        const auto end = text.find('\n');
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        ++count;
        const std::string words = trimmed(line);
        if (words.empty() || words[0] == '#' || words[0] == ';') continue;
        if (words[0] == '[') {
            const auto close = words.find(']');
            if (close == std::string::npos) refuse("no section, expected [NAME]");
            section = &sections[trimmed(words.substr(1, close - 1))];
            parent.clear();
            continue;
        }
        const auto equals = words.find('=');
        const bool nested = blank.find(line[0]) != std::string_view::npos && !parent.empty();
        if (nested && equals == std::string::npos)
            continue;  // more of a value that is none of ours
        if (equals == std::string::npos) refuse("no setting, expected KEY = VALUE");
        if (section == nullptr) refuse("in no section, expected [NAME] before it");
        const std::string key = trimmed(words.substr(0, equals));
        const std::string value = trimmed(words.substr(equals + 1));
        if (key.empty()) refuse("no setting, expected KEY = VALUE");
        (*section)[nested ? parent + "." + key : key] = value;
        if (!nested) parent = key;
    }
    return sections;
}

Profile::Profile(const Surroundings& around) {
    const auto named = around.variable("AWS_PROFILE");
    const std::string which = named.value_or("default");
    const std::string keys = path_of(around, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
    const std::string settings = path_of(around, "AWS_CONFIG_FILE", "~/.aws/config");
    name_ = fmt::format("profile {} in {} and {}", quoted(which), keys, settings);

    Sections config = sections_of(around, settings);
    Sections credentials = sections_of(around, keys);
    const bool configured =
        config.contains("profile " + which) || (which == "default" && config.contains(which));
    if (named && !configured && !credentials.contains(which)) {
        throw std::runtime_error(fmt::format("cannot use {}: there is no such profile", name_));
    }
    values_ = credentials[which];
    values_.merge(config["profile " + which]);
    if (which == "default") values_.merge(config[which]);
    const auto services = values_.find("services");
    if (services != values_.end()) services_ = config["services " + services->second];
}

std::optional<std::string> Profile::value(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end() || found->second.empty()) return std::nullopt;
    return found->second;
}

std::optional<std::string> Profile::endpoint(const std::string& service) const {
    const auto own = services_.find(service + ".endpoint_url");
    if (own != services_.end() && !own->second.empty()) return own->second;
    return value("endpoint_url");
}

}  // namespace lastcall::aws
