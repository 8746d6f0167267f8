#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

namespace lastcall {

/// The ECS agent's levels (ECS_LOGLEVEL), least to most urgent.
enum class Level { debug, info, warn, error, crit, none };

struct Field {
    std::string_view key;
    std::string value;
};

/// Where people read what happens. An interface, because the library opens no file and knows no
/// format. Never throws, never blocks for long.
class Log {
 public:
    virtual ~Log() = default;
    virtual void say(Level level, std::string_view message,
                     std::initializer_list<Field> fields = {}) = 0;
    /// False: what is said at this level goes nowhere, so that its fields need not be made.
    virtual bool hears(Level) const { return true; }
};

}  // namespace lastcall
