#include "agent/options.hpp"

#include <fmt/format.h>

#include <istream>
#include <ostream>
#include <string_view>

// <iostream> makes the standard streams, and a locale, before main; a wrapped command would wait
// for them each time. So CLI11, which only names two of them, gets their declarations alone, and
// parse_options makes them when it needs CLI11.
#define _GLIBCXX_IOSTREAM 1
namespace std {
extern ostream cout, cerr;
}
#include <CLI/CLI.hpp>

#include "agent/config/settings.hpp"

namespace lastcall {
namespace {

constexpr const char* about =
    "Lastcall stops a container's processes in the right order: it deregisters the task from its "
    "load\n"
    "balancers, waits until its connections are closed, sends the stop signal, waits, and kills.";

constexpr const char* examples = R"(
Examples:
  agent run -- nginx -g 'daemon off;'
      wraps one command; as a container's entry point: ENTRYPOINT ["agent", "run", "--"]
  AGENT_LOAD_BALANCERS='haproxy:///run/haproxy/admin.sock?server=web/web1' agent run -- ./web
      leaves HAProxy before ./web gets SIGTERM
  agent serve
      a host's daemon: `agentctl run`, `agentctl stop`, `agentctl ps` talk to it

Every setting is an environment variable and a flag; the flag wins.
`agent run --print-config` shows each effective value and where it came from.
)";

void add_settings(CLI::App& command, Options& options) {
    for (const auto& setting : setting_infos()) {
        const auto help =
            fmt::format("{} [{}; default: {}]", setting.help, setting.name, setting.fallback);
        const auto keep = [&options, flag = setting.flag](const std::vector<std::string>& values) {
            std::string joined;
            for (const auto& value : values) joined += (joined.empty() ? "" : " ") + value;
            options.flags[flag] = joined;
            return true;
        };
        auto* option = command.add_option("--" + setting.flag, keep, help);
        option->type_name("")->expected(1)->group("Settings");
        if (setting.repeatable) {
            option->expected(1, 1)->take_all();
        } else {
            option->take_last();
        }
    }
    command.add_flag("--print-config", options.print_config,
                     "print every effective value and where it came from, and exit");
}

void add_run_flags(CLI::App& run, Options& options) {
    const auto text = [&run](const std::string& name, std::optional<std::string>& to,
                             const std::string& type, const std::string& help) {
        const auto keep = [&to](const std::vector<std::string>& values) {
            to = values.back();
            return true;
        };
        run.add_option(name, keep, help)->type_name(type)->expected(1)->take_last();
    };
    text("--user", options.user, "NAME|UID[:GROUP|GID]",
         "who the command runs as, by /etc/passwd and /etc/group; a number needs no entry there. "
         "Sets HOME. A pre-stop command runs as the same user");
    text("--chdir", options.directory, "DIR", "the command's working directory");
    const auto keep_files = [&options](const std::vector<std::string>& files) {
        options.env_files = files;
        return true;
    };
    run.add_option("--env-file", keep_files,
                   "variables for the command, as docker reads them: NAME=value lines, # comments, "
                   "a bare NAME takes the agent's (repeatable)")
        ->type_name("FILE")
        ->expected(1, 1)
        ->take_all();
    text("--parent-death-signal", options.parent_death_signal, "SIGNAL",
         "what the agent gets when its parent dies: TERM starts a stop, KILL kills the command and "
         "all that it has forked at once, others go to the command");
    run.add_flag_callback(
        "--no-subreaper", [&options] { options.subreaper = false; },
        "don't become the parent of the command's orphans: they are looked for by their mark");
}

}  // namespace

Options parse_options(int argc, char** argv) {
    Options options;
    // An entry point's usual form needs no parser: the command starts a third sooner.
    if (argc > 3 && argv[1] == std::string_view("run") && argv[2] == std::string_view("--")) {
        options.arguments.assign(argv + 3, argv + argc);
        return options;
    }
    const std::ios_base::Init streams;
    CLI::App app(about, "agent");
    app.footer(examples);
    app.require_subcommand(1);
    app.set_version_flag("--version", "agent " LASTCALL_VERSION);
    const std::string_view wanted = argc > 1 ? argv[1] : "";

    auto* run = app.add_subcommand("run", "wrap one command: PID 1 of a container, or anywhere");
    run->footer(
        "\nSIGTERM or SIGINT to the agent starts the stop. Exit code: the command's; 128+N if "
        "signal N\n"
        "ended it; 127 not found, 126 not executable, 125 the agent's own failure.");
    if (wanted == "run") {
        add_run_flags(*run, options);
        add_settings(*run, options);
        run->add_option("command", options.arguments, "the command and its arguments, after --");
    }
    auto* serve = app.add_subcommand("serve", "a host's daemon with many tasks, for agentctl");
    serve->footer(
        "\nSIGTERM stops all tasks, side by side, then exits. `agentctl upgrade` makes it execute "
        "the\nbinary anew; its tasks go on.");
    if (wanted == "serve") {
        add_settings(*serve, options);
        serve->add_flag("--check", options.check,
                        "check that this binary could take over from a running agent; changes "
                        "nothing");
    }
    auto* version = app.add_subcommand("version", "print the version");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        options.exit_code = code == 0 ? 0 : wanted == "run" ? 125 : 1;
        return options;
    }
    if (serve->parsed()) options.command = Options::Command::serve;
    if (version->parsed()) options.command = Options::Command::version;
    return options;
}

}  // namespace lastcall
