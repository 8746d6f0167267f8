#pragma once
#include <string>
#include <vector>

#include "agent/level.hpp"
#include "supervisor/log.hpp"

namespace lastcall {

/// A log that keeps what it was told: "warn: Phase ended task=web phase=DRAIN".
class HeardLog : public Log {
 public:
    void say(Level level, std::string_view message, std::initializer_list<Field> fields) override {
        std::string line(spelling_of(level, level_words));
        line.append(": ").append(message);
        for (const auto& [key, value] : fields) line.append(" ").append(key).append("=" + value);
        lines.push_back(line);
    }
    std::vector<std::string> lines;
};

}  // namespace lastcall
