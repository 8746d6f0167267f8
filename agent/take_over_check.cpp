#include "agent/take_over_check.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "agent/complain.hpp"
#include "agent/handover.hpp"
#include "agent/house.hpp"
#include "agent/journal/schema.hpp"
#include "agent/notices.hpp"
#include "agent/run.hpp"

namespace lastcall {
namespace {

constexpr const char* answer_begins = "agent ";
std::string answer_ends() { return fmt::format(" can take over, handover {}\n", handover_version); }

std::string first_trouble(const Options& options) {
    const Role role{.mode = Role::Mode::serve, .pid1 = false, .root = ::geteuid() == 0};
    const Configuration configuration = configure(role, environment(), options.flags);
    if (!configuration.errors.empty()) return configuration.errors.front();
    const auto troubles = load_balancer_troubles(configuration.settings);
    if (!troubles.empty()) return troubles.front();
    try {
        notices_program(configuration.settings);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    const std::string journal = configuration.settings.data_dir + "/journal.db";
    try {
        check_schema(journal);
    } catch (const std::exception& error) {  // it is an answer
        return fmt::format("cannot open the journal '{}': {}", journal, error.what());
    }
    return {};
}

}  // namespace

int check_take_over(const Options& options) {
    const std::string trouble = first_trouble(options);
    if (!trouble.empty()) {
        complain(trouble);
        return 1;
    }
    fmt::print("{}", take_over_answer(LASTCALL_VERSION));
    return std::fflush(stdout) == 0 ? 0 : 1;
}

std::string take_over_answer(const std::string& version) {
    return answer_begins + version + answer_ends();
}

std::string version_in(const std::string& text) {
    const std::string ends = answer_ends();
    const std::size_t begins = std::string_view(answer_begins).size();
    if (!text.starts_with(answer_begins) || !text.ends_with(ends)) return {};
    return text.size() < begins + ends.size()
               ? ""
               : text.substr(begins, text.size() - begins - ends.size());
}

}  // namespace lastcall
