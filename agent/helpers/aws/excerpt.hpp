#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace lastcall::aws {

/// Somebody else's text on one line and at most `longest` bytes long, for a message: control
/// characters and what is no UTF-8 escaped, "…" where it was cut.
std::string excerpt(std::string_view text, std::size_t longest = 100);

/// The same in single quotes.
std::string quoted(std::string_view text, std::size_t longest = 100);

}  // namespace lastcall::aws
