#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "agent/options.hpp"
#include "agent/run.hpp"
#include "supervisor/launch.hpp"

int main(int argc, char** argv) try {
    const auto inherited = lastcall::take_over_signals();  // before anything else: none is lost
    const auto options = lastcall::parse_options(argc, argv);
    if (options.exit_code) return *options.exit_code;
    switch (options.command) {
        case lastcall::Options::Command::run:
            return lastcall::run(options, inherited);
        case lastcall::Options::Command::serve:
            return lastcall::serve(options, inherited);
        case lastcall::Options::Command::version:
            fmt::print("agent {}\n", LASTCALL_VERSION);
    }
    return 0;
} catch (const std::exception& error) {
    fmt::print(stderr, "agent: {}\n", error.what());
    return 125;
}
