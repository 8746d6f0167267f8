#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "agent/helpers/aws/surroundings.hpp"

namespace lastcall::aws {

/// A file of AWS's tools: `[section]`, `key = value`, and values that are lists of such in indented
/// lines ("parent.key" here).
using Sections = std::map<std::string, std::map<std::string, std::string>>;

/// Throws std::runtime_error that names `path` and the line, never what stands there: it may be a
/// secret.
Sections parse_sections(std::string_view text, const std::string& path);

/// What AWS's shared files say about the profile that AWS_PROFILE names ("default" if none):
/// `~/.aws/credentials` and `~/.aws/config`, or where AWS_SHARED_CREDENTIALS_FILE and
/// AWS_CONFIG_FILE say.
class Profile {
 public:
    /// Throws std::runtime_error if a file is there and can't be read or understood, or if
    /// AWS_PROFILE names a profile that is in neither.
    explicit Profile(const Surroundings& around);
    /// The credentials file wins.
    std::optional<std::string> value(const std::string& key) const;
    /// `endpoint_url` for a service ("elastic_load_balancing_v2"), or for all.
    std::optional<std::string> endpoint(const std::string& service) const;
    /// For people: "profile 'default' in ~/.aws/credentials and ~/.aws/config".
    const std::string& name() const { return name_; }

 private:
    std::map<std::string, std::string> values_;
    std::map<std::string, std::string> services_;
    std::string name_;
};

}  // namespace lastcall::aws
