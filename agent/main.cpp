#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "agent/complain.hpp"
#include "agent/descriptors.hpp"
#include "agent/options.hpp"
#include "agent/run.hpp"
#include "supervisor/launch.hpp"

int main(int argc, char** argv) {
    using Command = lastcall::Options::Command;
    const auto inherited = lastcall::take_over_signals();  // before anything else: none is lost
    lastcall::hold_standard_descriptors();
    const auto options = lastcall::parse_options(argc, argv);
    if (options.exit_code) return *options.exit_code;
    try {
        if (options.command == Command::run) return lastcall::run(options, inherited);
        if (options.command == Command::serve) return lastcall::serve(options, inherited, argv);
        fmt::print("agent {}\n", LASTCALL_VERSION);
        return 0;
    } catch (const std::exception& error) {
        lastcall::complain(error.what());
        return options.command == Command::run ? 125 : 1;  // 1 to 124 are a wrapped command's own
    }
}
