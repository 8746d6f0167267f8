#include "agent/complain.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace lastcall {

void complain(std::string_view what) {
    const std::string line = fmt::format("agent: {}\n", what);
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace lastcall
