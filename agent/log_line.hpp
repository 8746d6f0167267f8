#pragma once
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

#include "agent/config/settings.hpp"
#include "supervisor/clock.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

struct LogEntry {
    Clock::utc_time at;
    Level level;
    std::string_view message;
    std::initializer_list<Field> fields;
};

/// The line for an entry, its end included, in at most `longest` bytes (at least 512): where that
/// is too little, the longest values are cut, then fields left out. Control characters and what is
/// no UTF-8 are escaped, so that nobody's data can forge a line or speak to the terminal.
std::string log_line(LogFormat format, const LogEntry& entry, std::size_t longest);

}  // namespace lastcall
