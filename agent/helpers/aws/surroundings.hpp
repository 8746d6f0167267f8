#pragma once
#include <functional>
#include <optional>
#include <string>

namespace lastcall::aws {

/// What a process finds around it. Functions, so that tests bring their own.
struct Surroundings {
    /// An environment variable; nullopt if it isn't set, or empty.
    std::function<std::optional<std::string>(const std::string& name)> variable;
    /// A whole file; nullopt if there is none. Throws std::runtime_error if it can't be read or has
    /// more than a megabyte.
    std::function<std::optional<std::string>(const std::string& path)> file;
    /// The user's home directory; empty if there is none.
    std::function<std::string()> home;
};

/// The real ones.
Surroundings surroundings();

}  // namespace lastcall::aws
