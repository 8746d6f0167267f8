#pragma once
#include <map>
#include <string>
#include <string_view>

#include "agent/config/settings.hpp"

namespace lastcall {

/// One variable while it is being read.
struct Reading {
    std::string_view origin;  ///< as its author knows it: "AGENT_DRAIN", or "--drain"
    std::string_view text;    ///< empty: unset
    const Role& role;
    const std::map<std::string, std::string>& environment;  ///< for HOME and XDG_…
    Configuration& out;
};

/// The value in force, as people read it, and whether it is the one that was given.
struct Effective {
    std::string value;
    bool given = false;
};

/// Reads one variable into `Reading::out`: its setting, and what there is to say about it.
using Rule = Effective (*)(Reading& reading);

/// One function a variable; what each accepts is told in docs/environment.md.
namespace rules {
Effective stop_timeout(Reading& reading);
Effective start_timeout(Reading& reading);
Effective data_dir(Reading& reading);
Effective cluster(Reading& reading);
Effective log_level(Reading& reading);
Effective log_file(Reading& reading);
Effective log_format(Reading& reading);
Effective spot_draining(Reading& reading);
Effective cleanup_wait(Reading& reading);
Effective load_balancers(Reading& reading);
Effective deregistration_delay(Reading& reading);
Effective deregister_timeout(Reading& reading);
Effective drain(Reading& reading);
Effective drain_idle(Reading& reading);
Effective drain_signal(Reading& reading);
Effective ports(Reading& reading);
Effective stop_signal(Reading& reading);
Effective signal_scope(Reading& reading);
Effective signal_map(Reading& reading);
Effective expect_exit_code(Reading& reading);
Effective stop_deadline(Reading& reading);
Effective pre_stop(Reading& reading);
Effective pre_stop_timeout(Reading& reading);
Effective task(Reading& reading);
Effective socket(Reading& reading);
Effective introspection_addr(Reading& reading);
Effective log_max_size(Reading& reading);
Effective helper_path(Reading& reading);
Effective lifecycle_hook(Reading& reading);
Effective lifecycle_on_failure(Reading& reading);
}  // namespace rules

}  // namespace lastcall
