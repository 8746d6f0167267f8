#pragma once
#include <cstddef>
#include <string_view>

namespace lastcall {

/// How many typing errors lie between two words: letters missing, added, wrong, or two neighbours
/// exchanged (optimal string alignment).
std::size_t typing_errors(std::string_view meant, std::string_view typed);

}  // namespace lastcall
