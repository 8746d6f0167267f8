#pragma once
#include <string>
#include <string_view>

namespace lastcall {

/// A load balancer URL as it may be shown: "***" in place of `user:password` before an '@', and of
/// the value of a parameter whose name speaks of a password, a token, a secret or a key.
std::string without_secrets(std::string_view url);

}  // namespace lastcall
