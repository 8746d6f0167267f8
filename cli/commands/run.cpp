#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <charconv>
#include <filesystem>

#include "agent/api/types.hpp"
#include "cli/commands/commands.hpp"

namespace lastcall::cli {
namespace {

std::int64_t port(const std::string& text) {
    std::int64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || number < 1 || number > 65535) {
        throw Usage("--port must be a number from 1 to 65535, not '" + text + "'");
    }
    return number;
}

/// The command's last path component: what the task is called if nobody names it.
std::string base_name(const std::string& command) {
    return command.substr(command.find_last_of('/') + 1);
}

struct Given {
    std::vector<std::string> ports, load_balancers;
    std::string chdir;
};

void declare(Arguments& arguments, api::RunRequest& request, Given& given) {
    arguments.about(
        "starts a task and returns when its command runs; the task goes on.",
        "  agentctl run --name web --port 8081 -- ./server 8081\n"
        "  agentctl run --load-balancer 'haproxy:///run/haproxy/admin.sock?server=web/web1'"
        " -- ./server\n"
        "What is left out is the agent's own setting ('agentctl config'). Durations: 1m30s,"
        " 500ms, or seconds.\n");
    arguments.value("--name", "NAME", request.name, "the task's name (default: the command's)");
    arguments.values("--port", "PORT", given.ports,
                     "a port whose connections count (repeatable; default: found)");
    arguments.values("--load-balancer", "URL", given.load_balancers,
                     "a load balancer that must let go of it (repeatable; '' for none)");
    arguments.values("--env", "NAME=VALUE", request.environment,
                     "a variable besides the agent's (repeatable)");
    arguments.value("--chdir", "DIR", given.chdir, "its working directory (default: this one)");
    arguments.value("--stop-timeout", "D", request.stopTimeout, "from the stop signal to SIGKILL");
    arguments.value("--deregistration-delay", "D", request.deregistrationDelay,
                    "how long a drain may last");
    arguments.value("--deregister-timeout", "D", request.deregisterTimeout,
                    "how long deregistering may be retried");
    arguments.value("--drain", "MODE", request.drain,
                    "what ends a drain: closed, strict, idle or none");
    arguments.value("--drain-idle", "D", request.drainIdle,
                    "with idle: quiet for so long is at rest");
    arguments.value("--drain-signal", "SIGNAL", request.drainSignal,
                    "sent when it is deregistered, so that it says goodbye");
    arguments.value("--stop-signal", "SIGNAL", request.stopSignal, "instead of SIGTERM");
    arguments.value("--signal-scope", "SCOPE", request.signalScope,
                    "who gets the stop signal: main, group or tree");
    arguments.value("--stop-deadline", "D", request.stopDeadline,
                    "what the whole stop must fit in, or none");
    arguments.value("--pre-stop", "COMMAND", request.preStop,
                    "a shell command between drain and stop signal");
    arguments.value("--pre-stop-timeout", "D", request.preStopTimeout, "how long that may take");
    arguments.rest("COMMAND…", request.command);
}

}  // namespace

int run(Session& session) {
    api::RunRequest request;
    Given given;
    declare(session.arguments, request, given);
    session.parse();

    for (const std::string& each : given.ports) request.ports.push_back(port(each));
    if (!given.load_balancers.empty()) {
        std::erase(given.load_balancers, "");
        request.loadBalancers = given.load_balancers;
    }
    for (const std::string& each : request.environment) {
        const std::size_t equals = each.find('=');
        if (equals == 0 || equals == each.npos) {
            throw Usage("--env must be NAME=VALUE, not '" + each + "'");
        }
    }
    std::error_code error;
    const std::filesystem::path here = std::filesystem::current_path(error);
    if (error) throw std::runtime_error("cannot find the working directory: " + error.message());
    request.workingDirectory = given.chdir.empty() ? here.string() : (here / given.chdir).string();
    if (request.name.empty()) request.name = base_name(request.command.front());

    const boost::json::value answer = session.call("POST", "/v1/tasks", api::to_json(request));
    if (session.json) {
        session.print(answer);
        return done;
    }
    const auto task = api::from_json<api::Task>(answer);
    std::string line = task.name;
    if (!task.containers.empty() && task.containers.front().pid) {
        line += fmt::format("  pid {}", *task.containers.front().pid);
    }
    session.terminal.print(printable({.utf8 = true}, line) + "\n");
    return done;
}

}  // namespace lastcall::cli
