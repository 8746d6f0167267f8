#pragma once
#include <string_view>
#include <vector>

namespace lastcall {

/// What separates a list's elements.
constexpr std::string_view blanks = " \t\n\v\f\r";

/// The parts of `text` between any of `separators`; empty ones are left out.
std::vector<std::string_view> split(std::string_view text, std::string_view separators = blanks);

}  // namespace lastcall
