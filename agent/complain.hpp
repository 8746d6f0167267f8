#pragma once
#include <string_view>

namespace lastcall {

/// "agent: WHAT" on stderr. Not by fmt::print, which throws where stderr is full or broken.
void complain(std::string_view what);

}  // namespace lastcall
