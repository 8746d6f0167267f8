#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "agent/config/settings.hpp"
#include "agent/run.hpp"

namespace lastcall {

namespace {

/// This stands before the command's start, and most variables are the command's alone.
bool concerns_us(std::string_view variable) {
    for (const std::string_view prefix : {"AGENT_", "ECS_", "XDG_", "HOME=", "LASTCALL_TASK="}) {
        if (variable.starts_with(prefix)) return true;
    }
    return false;
}

}  // namespace

std::map<std::string, std::string> environment(bool whole) {
    std::map<std::string, std::string> variables;
    for (char** each = ::environ; *each; ++each) {
        const std::string_view text = *each;
        const auto equals = text.find('=');
        if (equals == text.npos || (!whole && !concerns_us(text))) continue;
        variables.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return variables;
}

void print_configuration(const Configuration& configuration) {
    std::size_t name = 4, value = 5;
    for (const auto& row : configuration.rows) {
        name = std::max(name, row.name.size());
        value = std::max(value, std::min<std::size_t>(row.value.size(), 48));
    }
    fmt::print("{:<{}}  {:<{}}  SOURCE\n", "NAME", name, "VALUE", value);
    for (const auto& row : configuration.rows) {
        const auto& shown = row.value.empty() ? "-" : row.value;
        fmt::print("{:<{}}  {:<{}}  {}\n", row.name, name, shown, value, row.source);
    }
    for (const auto& error : configuration.errors) fmt::print(stderr, "agent: {}\n", error);
    for (const auto& warning : configuration.warnings) fmt::print(stderr, "agent: {}\n", warning);
}

}  // namespace lastcall
