#pragma once
#include <string>
#include <string_view>

#include "supervisor/phase.hpp"

namespace lastcall {

/// A phase's detail as a JSON object, in its order. Numbers keep their kind and every bit: 3 is an
/// integer, 3.0 isn't. (Boost.JSON 1.81 reads doubles with errors in the last place.)
std::string detail_json(const Detail& detail);

/// The way back. Throws std::runtime_error for what `detail_json` doesn't write.
Detail detail_from_json(std::string_view json);

}  // namespace lastcall
