#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lastcall::aws {

/// One call of AWS's Query API: an action and its parameters, as a form.
class Query {
 public:
    Query(std::string action, std::string_view version);
    Query& add(std::string_view name, std::string_view value);
    const std::string& action() const { return action_; }
    /// application/x-www-form-urlencoded, all but RFC 3986's unreserved characters escaped.
    const std::string& body() const { return body_; }

 private:
    std::string action_;
    std::string body_;
};

inline constexpr std::string_view elbv2_version = "2015-12-01";
inline constexpr std::string_view elb_version = "2012-06-01";
inline constexpr std::string_view auto_scaling_version = "2011-01-01";

}  // namespace lastcall::aws
