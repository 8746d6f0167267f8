#include "agent/config/settings.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <string>

namespace lastcall {
namespace {

using Variables = std::map<std::string, std::string>;
using Lines = std::vector<std::string>;

const Role plain{.command = "/usr/sbin/nginx"};
const Role serve{.mode = Role::Mode::serve, .command = ""};
const Role pid1{.pid1 = true, .command = "web"};

Configuration with(const Variables& environment, const Role& role = plain) {
    return configure(role, environment, {});
}

SettingRow row(const Configuration& configuration, const std::string& name) {
    for (const auto& each : configuration.rows) {
        if (each.name == name) return each;
    }
    FAIL("no row ", name);
    return {};
}

std::string shown(const Configuration& configuration, const std::string& name) {
    const auto found = row(configuration, name);
    return found.value + " (" + std::string(found.source) + ")";
}

/// What one variable comes to: "2s (environment)", and the one warning it gives, if any.
struct Read {
    std::string value, warning;
    friend bool operator==(const Read&, const Read&) = default;
};
Read read(const std::string& name, const std::string& text, const Role& role = plain) {
    const auto configuration = with({{name, text}}, role);
    CHECK(configuration.warnings.size() <= 1);
    return {shown(configuration, name),
            configuration.warnings.empty() ? "" : configuration.warnings[0]};
}

}  // namespace

TEST_CASE("with nothing set every setting has its documented default and nothing is said") {
    const auto run = with({});
    CHECK(run.warnings.empty());
    CHECK(run.errors.empty());
    CHECK(run.notes.empty());
    REQUIRE(run.rows.size() == setting_infos().size());
    const auto& settings = run.settings;
    CHECK_FALSE(settings.stop.stop_timeout);
    CHECK(settings.start_timeout == 3min);
    CHECK(settings.cleanup_wait == std::chrono::hours(3));
    CHECK(settings.data_dir.empty());
    CHECK(settings.cluster == "default");
    CHECK(settings.log_level == Level::info);
    CHECK(settings.log_file.empty());
    CHECK(settings.log_format == LogFormat::logfmt);
    CHECK_FALSE(settings.spot_draining);
    CHECK(settings.load_balancers.empty());
    CHECK(settings.stop.deregistration_delay == 300s);
    CHECK(settings.stop.deregister_timeout == 30s);
    CHECK(settings.stop.drain == DrainMode::closed);
    CHECK(settings.stop.drain_idle == 5s);
    CHECK_FALSE(settings.stop.drain_signal);
    CHECK(settings.ports.empty());
    CHECK_FALSE(settings.stop.stop_signal);
    CHECK_FALSE(settings.stop.stop_deadline);
    CHECK(settings.stop.pre_stop.empty());
    CHECK(settings.stop.pre_stop_timeout == 10s);
    CHECK(settings.task == "nginx");
    CHECK(settings.socket.empty());
    CHECK(settings.introspection_addr.empty());
    CHECK(settings.helper_path.empty());
    for (const auto& each : run.rows) {
        CHECK_MESSAGE(each.source == "default", each.name);
        CHECK_MESSAGE(!each.value.empty(), each.name);
    }
    CHECK(shown(run, "ECS_CONTAINER_STOP_TIMEOUT") == "30s (default)");
}

TEST_CASE("an empty variable is an unset one") {
    Variables empty;
    for (const auto& info : setting_infos()) empty[info.name] = "";
    const auto configuration = with(empty);
    CHECK(configuration.warnings == Lines{});
    CHECK(configuration.errors == Lines{});
    for (const auto& each : configuration.rows) CHECK_MESSAGE(each.source == "default", each.name);
}

TEST_CASE("the stop timeout follows the ECS agent's rules") {
    const std::string name = "ECS_CONTAINER_STOP_TIMEOUT";
    const std::string expected = ", not a duration like 1m30s, 500ms or 30 (seconds): using 30s";
    const std::string minimum = ", less than the minimum of 1s: using 1s";
    CHECK(read(name, "2m") == Read{"2m (environment)", ""});
    CHECK(read(name, "1.5s") == Read{"1.5s (environment)", ""});
    CHECK(read(name, "2") == Read{"2s (environment)", ""});
    CHECK(read(name, "1000h") == Read{"1000h (environment)", ""});
    for (const auto unset : {"0", "0s", "0.0"}) {
        CHECK(read(name, unset) == Read{"30s (default)", ""});
    }
    for (const auto malformed : {"invalid", "30S", "1d", " 30s", "30 s", "9999999999h"}) {
        CHECK(read(name, malformed) ==
              Read{"30s (default)", name + " is '" + malformed + "'" + expected});
    }
    for (const auto too_short : {"-10s", "100ms", "-10", "0.5", "999ms"}) {
        CHECK(read(name, too_short) ==
              Read{"1s (environment)", name + " is '" + too_short + "'" + minimum});
    }
    CHECK(with({{name, "1d"}}).settings.stop.stop_timeout == std::nullopt);
    CHECK(with({{name, "0"}}).settings.stop.stop_timeout == std::nullopt);
    CHECK(with({{name, "100ms"}}).settings.stop.stop_timeout == 1s);
    CHECK(with({{name, "2"}}).settings.stop.stop_timeout == 2s);
}

TEST_CASE("a bare number is seconds, and a note says so") {
    const auto configuration = with({{"ECS_CONTAINER_STOP_TIMEOUT", "2"}});
    CHECK(configuration.notes ==
          Lines{"ECS_CONTAINER_STOP_TIMEOUT is '2', a bare number: read as 2s"});
    CHECK(with({{"ECS_CONTAINER_STOP_TIMEOUT", "2s"}}).notes.empty());
}

TEST_CASE("the other durations have their own bounds") {
    const auto below = [](const std::string& name, const std::string& text,
                          const std::string& minimum, const std::string& used) {
        return name + " is '" + text + "', less than the minimum of " + minimum + ": using " + used;
    };
    CHECK(read("ECS_CONTAINER_START_TIMEOUT", "10s") ==
          Read{"45s (environment)", below("ECS_CONTAINER_START_TIMEOUT", "10s", "45s", "45s")});
    CHECK(with({{"ECS_CONTAINER_START_TIMEOUT", "5m"}}).settings.start_timeout == 5min);
    CHECK(
        read("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "100ms") ==
        Read{"3h (default)", below("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "100ms", "1s", "3h")});
    CHECK(with({{"ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "1m"}}).settings.cleanup_wait == 1min);

    CHECK(read("AGENT_DEREGISTRATION_DELAY", "0") == Read{"0s (environment)", ""});
    CHECK(read("AGENT_DEREGISTRATION_DELAY", "-1s") ==
          Read{"0s (environment)", below("AGENT_DEREGISTRATION_DELAY", "-1s", "0s", "0s")});
    CHECK(read("AGENT_DEREGISTRATION_DELAY", "1h") == Read{"1h (environment)", ""});
    CHECK(read("AGENT_DEREGISTRATION_DELAY", "3601") ==
          Read{"1h (environment)",
               "AGENT_DEREGISTRATION_DELAY is '3601', more than the maximum of 1h: using 1h"});
    CHECK(read("AGENT_DEREGISTRATION_DELAY", "soon").value == "5m (default)");

    for (const std::string name :
         {"AGENT_DEREGISTER_TIMEOUT", "AGENT_DRAIN_IDLE", "AGENT_PRE_STOP_TIMEOUT"}) {
        CHECK(read(name, "1.5s") == Read{"1.5s (environment)", ""});
        CHECK(read(name, "0").value.ends_with("(default)"));
        CHECK(read(name, "-1s") ==
              Read{"100ms (environment)", below(name, "-1s", "100ms", "100ms")});
        CHECK(read(name, "1 s").value.ends_with("(default)"));
        CHECK(read(name, "1 s").warning.starts_with(name + " is '1 s', not a duration like "));
    }
    const auto settings = with({{"AGENT_DEREGISTER_TIMEOUT", "1s"},
                                {"AGENT_DRAIN_IDLE", "2s"},
                                {"AGENT_PRE_STOP_TIMEOUT", "3s"},
                                {"AGENT_DEREGISTRATION_DELAY", "4s"}})
                              .settings.stop;
    CHECK(settings.deregister_timeout == 1s);
    CHECK(settings.drain_idle == 2s);
    CHECK(settings.pre_stop_timeout == 3s);
    CHECK(settings.deregistration_delay == 4s);
}

TEST_CASE("PID 1 behind a load balancer assumes a deadline of 30 s unless it is told") {
    const std::string balancers = "AGENT_LOAD_BALANCERS", deadline = "AGENT_STOP_DEADLINE";
    const std::string url = "readiness://0.0.0.0:8081/ready";
    const auto assumed = with({{balancers, url}}, pid1);
    CHECK(assumed.settings.stop.stop_deadline == 30s);
    CHECK(shown(assumed, deadline) == "30s (default)");
    CHECK(shown(assumed, "ECS_CONTAINER_STOP_TIMEOUT") == "at least 14.5s (default)");
    REQUIRE(assumed.notes.size() == 1);
    CHECK(assumed.notes[0].starts_with("AGENT_STOP_DEADLINE isn't set: 30s is assumed"));

    const auto malformed = with({{balancers, url}, {deadline, "1d"}}, pid1);
    CHECK(malformed.settings.stop.stop_deadline == 30s);
    CHECK(malformed.warnings.at(0).ends_with(": using 30s"));

    CHECK_FALSE(with({{balancers, url}, {deadline, "none"}}, pid1).settings.stop.stop_deadline);
    CHECK(with({{balancers, url}, {deadline, "10"}}, pid1).settings.stop.stop_deadline == 10s);
    CHECK_FALSE(with({}, pid1).settings.stop.stop_deadline);
    CHECK_FALSE(with({{balancers, url}}, plain).settings.stop.stop_deadline);
}

TEST_CASE("a stop deadline is a duration or none") {
    CHECK(read("AGENT_STOP_DEADLINE", "90s") == Read{"1m30s (environment)", ""});
    CHECK(read("AGENT_STOP_DEADLINE", "none") == Read{"none (environment)", ""});
    CHECK(read("AGENT_STOP_DEADLINE", "0") == Read{"none (default)", ""});
    CHECK(read("AGENT_STOP_DEADLINE", "never") ==
          Read{"none (default)",
               "AGENT_STOP_DEADLINE is 'never', not a duration like 1m30s, 500ms "
               "or 30 (seconds): using none"});
    CHECK(read("AGENT_STOP_DEADLINE", "-5") ==
          Read{"1s (environment)",
               "AGENT_STOP_DEADLINE is '-5', less than the minimum of 1s: using 1s"});
    const auto both = with({{"AGENT_STOP_DEADLINE", "10"}, {"ECS_CONTAINER_STOP_TIMEOUT", "3"}});
    CHECK(shown(both, "ECS_CONTAINER_STOP_TIMEOUT") == "3s (environment)");
    CHECK(shown(with({{"AGENT_STOP_DEADLINE", "10"}}), "ECS_CONTAINER_STOP_TIMEOUT") ==
          "at least 4.5s (default)");
}

TEST_CASE("ports are a list of what can be ports, each once") {
    const auto ports = [](const std::string& text) {
        return with({{"AGENT_PORTS", text}}).settings.ports;
    };
    using Ports = std::vector<std::uint16_t>;
    CHECK(ports("8081") == Ports{8081});
    CHECK(ports("8081,8082") == Ports{8081, 8082});
    CHECK(ports(" 8081 ,\t8082  8081,") == Ports{8081, 8082});
    CHECK(ports("1 65535") == Ports{1, 65535});
    CHECK(ports(" , ") == Ports{});
    CHECK(read("AGENT_PORTS", "8081 8082") == Read{"8081,8082 (environment)", ""});
    for (const std::string bad : {"0", "70000", "65536", "http", "-1", "+1", "80x", "0x50"}) {
        const auto configuration = with({{"AGENT_PORTS", "8081," + bad}});
        CHECK(configuration.settings.ports == Ports{8081});
        CHECK(configuration.warnings ==
              Lines{"AGENT_PORTS has '" + bad + "', not a port from 1 to 65535: left out"});
    }
    CHECK(read("AGENT_PORTS", "0").value == "found (default)");
    CHECK(with({{"AGENT_PORTS", "0 70000"}}).warnings.size() == 2);
}

TEST_CASE("a signal that is none keeps the agent from starting") {
    const auto wrong = with({{"AGENT_STOP_SIGNAL", "FOO"}, {"AGENT_DRAIN_SIGNAL", "65"}});
    CHECK(
        wrong.errors ==
        Lines{"AGENT_DRAIN_SIGNAL is '65', not the name or number of a signal, or none",
              "AGENT_STOP_SIGNAL is 'FOO', not the name or number of a signal, like TERM, SIGQUIT "
              "or 15"});
    CHECK(wrong.warnings.empty());
    const auto right = with({{"AGENT_STOP_SIGNAL", "quit"}, {"AGENT_DRAIN_SIGNAL", "10"}});
    CHECK(right.errors.empty());
    CHECK(right.settings.stop.stop_signal == SIGQUIT);
    CHECK(right.settings.stop.drain_signal == SIGUSR1);
    CHECK(shown(right, "AGENT_STOP_SIGNAL") == "SIGQUIT (environment)");
    CHECK(shown(right, "AGENT_DRAIN_SIGNAL") == "SIGUSR1 (environment)");
    CHECK(read("AGENT_DRAIN_SIGNAL", "none") == Read{"none (environment)", ""});
    CHECK(shown(with({}, serve), "AGENT_STOP_SIGNAL") == "SIGTERM (default)");
}

TEST_CASE("words that aren't among those expected are warned of") {
    CHECK(read("AGENT_DRAIN", "idle") == Read{"idle (environment)", ""});
    CHECK(read("AGENT_DRAIN", "maybe") ==
          Read{"closed (default)",
               "AGENT_DRAIN is 'maybe', not closed, strict, idle or none: using closed"});
    CHECK(with({{"AGENT_DRAIN", "none"}}).settings.stop.drain == DrainMode::none);
    CHECK(read("ECS_LOGLEVEL", "Debug") == Read{"debug (environment)", ""});
    CHECK(
        read("ECS_LOGLEVEL", "verbose") ==
        Read{"info (default)",
             "ECS_LOGLEVEL is 'verbose', not debug, info, warn, error, crit or none: using info"});
    CHECK(with({{"ECS_LOGLEVEL", "none"}}).settings.log_level == Level::none);
    CHECK(with({{"ECS_LOG_OUTPUT_FORMAT", "json"}}).settings.log_format == LogFormat::json);
    CHECK(read("ECS_LOG_OUTPUT_FORMAT", "xml") ==
          Read{"logfmt (default)",
               "ECS_LOG_OUTPUT_FORMAT is 'xml', not logfmt or json: using logfmt"});
}

TEST_CASE("booleans are the ECS agent's") {
    const std::string name = "ECS_ENABLE_SPOT_INSTANCE_DRAINING";
    for (const auto yes : {"1", "t", "T", "TRUE", "true", "True", " true\n"}) {
        CHECK(read(name, yes) == Read{"true (environment)", ""});
        CHECK(with({{name, yes}}).settings.spot_draining);
    }
    for (const auto no : {"0", "f", "F", "FALSE", "false", "False"}) {
        CHECK(read(name, no) == Read{"false (environment)", ""});
    }
    for (const std::string neither : {"yes", "on", "2", "tRUE"}) {
        CHECK(read(name, neither) ==
              Read{"false (default)",
                   name + " is '" + neither + "', not true or false: using false"});
    }
    CHECK(read(name, "  ") == Read{"false (default)", ""});
}

TEST_CASE("a task is named after its command unless it is named") {
    const auto named_after = [](const std::string& command) {
        return configure({.command = command}, {}, {}).settings.task;
    };
    CHECK(named_after("/usr/sbin/nginx") == "nginx");
    CHECK(named_after("./run web.sh") == "run-web.sh");
    CHECK(named_after("bin/") == "bin");
    CHECK(named_after("/opt/_start") == "start");
    CHECK(named_after("caf\xc3\xa9") == "caf--");
    CHECK(named_after("...") == "task");
    CHECK(named_after("") == "task");
    CHECK(named_after(std::string(300, 'a')).size() == 255);

    CHECK(read("AGENT_TASK", "web1") == Read{"web1 (environment)", ""});
    CHECK(with({{"AGENT_TASK", "web1"}}).settings.task == "web1");
    for (const std::string bad : {"a/b", "../etc", ".", "-x", "a b"}) {
        CHECK(read("AGENT_TASK", bad).value == "nginx (default)");
        CHECK(read("AGENT_TASK", bad).warning.starts_with("AGENT_TASK is '" + bad + "', not 1 to"));
        CHECK(with({{"AGENT_TASK", bad}}).settings.task == "nginx");
    }
    CHECK(shown(with({}, serve), "AGENT_TASK") == "none (default)");
}

TEST_CASE("the socket's place depends on who runs what") {
    const Variables user{{"XDG_RUNTIME_DIR", "/run/user/7"}, {"HOME", "/home/u"}};
    const Role user_serve{.mode = Role::Mode::serve, .root = false, .command = ""};
    const Role user_pid1{.pid1 = true, .root = false, .command = ""};
    CHECK(with({}, serve).settings.socket == "/run/lastcall/agent.sock");
    CHECK(with({}, pid1).settings.socket == "/run/lastcall/agent.sock");
    CHECK(with({}, plain).settings.socket.empty());
    CHECK(with(user, user_serve).settings.socket == "/run/user/7/lastcall/agent.sock");
    CHECK(with(user, user_pid1).settings.socket == "/run/user/7/lastcall/agent.sock");
    CHECK(with({{"AGENT_SOCKET", "/tmp/a.sock"}}).settings.socket == "/tmp/a.sock");
    CHECK(with({{"AGENT_SOCKET", "none"}}, serve).settings.socket.empty());

    const auto nowhere = with({{"HOME", "/home/u"}}, user_serve);
    CHECK(nowhere.errors ==
          Lines{"AGENT_SOCKET is needed: XDG_RUNTIME_DIR doesn't say where a user's sockets go"});
    const auto without = with({}, user_pid1);
    CHECK(without.errors.empty());
    CHECK(without.settings.socket.empty());
    CHECK(without.notes.size() == 1);
}

TEST_CASE("a size is bytes, or a number with a unit") {
    const auto size = [](const std::string& text) {
        return configure({}, {{"AGENT_LOG_MAX_SIZE", text}}, {}).settings.log_max_size;
    };
    CHECK(size("") == 10 << 20);
    CHECK(size("0") == 0);
    CHECK(size("4096") == 4096);
    CHECK(size("512K") == 512 << 10);
    CHECK(size("2m") == 2 << 20);
    CHECK(size("3G") == std::uint64_t{3} << 30);
    for (const auto* const wrong : {"x", "-1", "1.5M", "10MB", "10 M", "K", "99999999999999999999",
                                    "18446744073709551615K"}) {
        const auto read = configure({}, {{"AGENT_LOG_MAX_SIZE", wrong}}, {});
        CHECK(read.settings.log_max_size == 10 << 20);
        REQUIRE(read.warnings.size() == 1);
        CHECK(read.warnings[0] ==
              "AGENT_LOG_MAX_SIZE is '" + std::string(wrong) +
                  "', not a size like 10M, 512K, 1G or 4096 (bytes): using 10M");
    }
}

TEST_CASE("the data directory's place depends on who runs what") {
    const Role user_serve{.mode = Role::Mode::serve, .root = false, .command = ""};
    const Variables runtime{{"XDG_RUNTIME_DIR", "/run/user/7"}};
    const auto place = [&](Variables more) {
        more.insert(runtime.begin(), runtime.end());
        return with(more, user_serve).settings.data_dir;
    };
    CHECK(with({}, serve).settings.data_dir == "/var/lib/lastcall");
    CHECK(with({}, pid1).settings.data_dir.empty());
    CHECK(place({{"XDG_STATE_HOME", "/s"}, {"HOME", "/home/u"}}) == "/s/lastcall");
    CHECK(place({{"HOME", "/home/u"}}) == "/home/u/.local/state/lastcall");
    CHECK(place({{"XDG_STATE_HOME", "s"}, {"HOME", "/home/u"}}) == "/home/u/.local/state/lastcall");
    CHECK(place({{"ECS_DATADIR", "/d"}}) == "/d");
    CHECK(with(runtime, user_serve).errors ==
          Lines{"ECS_DATADIR is needed: neither XDG_STATE_HOME nor HOME says where a user's data "
                "goes"});
}

TEST_CASE("the introspection address is numeric and has a port") {
    for (const auto good :
         {"127.0.0.1:51678", "0.0.0.0:80", "[::1]:51678", "[::ffff:127.0.0.1]:1"}) {
        CHECK(read("AGENT_INTROSPECTION_ADDR", good) ==
              Read{std::string(good) + " (environment)", ""});
        CHECK(with({{"AGENT_INTROSPECTION_ADDR", good}}).settings.introspection_addr == good);
    }
    for (const auto bad : {"51678", "localhost:51678", ":51678", "127.0.0.1", "127.0.0.1:0",
                           "127.0.0.1:70000", "127.0.0:1", "127.0.0.256:1", "::1:51678", "[]:1",
                           "[::1]", "[::1:5", "[a]b]:1", "127.0.0.1:", "1..2.3:4", ":"}) {
        CHECK(read("AGENT_INTROSPECTION_ADDR", bad) ==
              Read{"none (default)", "AGENT_INTROSPECTION_ADDR is '" + std::string(bad) +
                                         "', not an address and a port like 127.0.0.1:51678 or "
                                         "[::1]:51678: using none"});
    }
}

TEST_CASE("load balancers are separated by spaces and shown without secrets") {
    const auto configuration = with(
        {{"AGENT_LOAD_BALANCERS",
          "  haproxy:///run/a@b.sock?server=web/web1\n nginx://ann:s3cret@10.0.0.1/up?drain=idle "
          "x:joe:p/w@host?token=abc&api-key=d&server=e "}});
    CHECK(configuration.settings.load_balancers ==
          Lines{"haproxy:///run/a@b.sock?server=web/web1",
                "nginx://ann:s3cret@10.0.0.1/up?drain=idle",
                "x:joe:p/w@host?token=abc&api-key=d&server=e"});
    CHECK(row(configuration, "AGENT_LOAD_BALANCERS").value ==
          "haproxy:///run/a@b.sock?server=web/web1 nginx://***@10.0.0.1/up?drain=idle "
          "x:***@host?token=***&api-key=***&server=e");
}

TEST_CASE("a flag wins over its variable") {
    const Variables environment{{"ECS_CONTAINER_STOP_TIMEOUT", "20s"}, {"AGENT_DRAIN", "bad"}};
    const auto configuration =
        configure(plain, environment, {{"stop-timeout", "7s"}, {"drain", "strict"}});
    CHECK(configuration.settings.stop.stop_timeout == 7s);
    CHECK(shown(configuration, "ECS_CONTAINER_STOP_TIMEOUT") == "7s (flag)");
    CHECK(shown(configuration, "AGENT_DRAIN") == "strict (flag)");
    CHECK(configuration.warnings.empty());

    const auto wrong = configure(plain, environment, {{"stop-timeout", "1d"}, {"drain", ""}});
    CHECK(wrong.warnings == Lines{"--stop-timeout is '1d', not a duration like 1m30s, 500ms or 30 "
                                  "(seconds): using 30s"});
    CHECK(shown(wrong, "ECS_CONTAINER_STOP_TIMEOUT") == "30s (default)");
    CHECK(shown(wrong, "AGENT_DRAIN") == "closed (default)");
}

TEST_CASE("every setting can be given by its flag") {
    for (const auto& info : setting_infos()) {
        const auto configuration = configure(plain, {}, {{info.flag, "\x01 no value at all"}});
        const bool heard = row(configuration, info.name).source == "flag" ||
                           !configuration.warnings.empty() || !configuration.errors.empty();
        CHECK_MESSAGE(heard, info.flag);
    }
}

TEST_CASE("a typing error in a variable's name is a warning with the right name") {
    const auto warning = [](const std::string& name) {
        const auto configuration = with({{name, "x"}});
        CHECK(configuration.warnings.size() <= 1);
        return configuration.warnings.empty() ? "" : configuration.warnings[0];
    };
    CHECK(warning("AGENT_PORT") ==
          "AGENT_PORT is no setting of the agent: did you mean AGENT_PORTS?");
    CHECK(warning("AGENT_LOAD_BALANCER").ends_with("did you mean AGENT_LOAD_BALANCERS?"));
    CHECK(warning("AGENT_LOADBALANCER").ends_with("did you mean AGENT_LOAD_BALANCERS?"));
    CHECK(warning("AGENT_DRIAN").ends_with("did you mean AGENT_DRAIN?"));
    CHECK(warning("AGENT_STOP_SINGAL").ends_with("did you mean AGENT_STOP_SIGNAL?"));
    CHECK(
        warning("AGENT_DEREGISTRATION_DELY").ends_with("did you mean AGENT_DEREGISTRATION_DELAY?"));
    for (const auto other : {"AGENT_", "AGENT_ID", "AGENT_NAME", "AGENT_HOST", "AGENT_TOKEN",
                             "AGENT_TAGS", "AGENT_STOP", "AGENTS_TASK", "MY_AGENT_PORT"}) {
        CHECK_MESSAGE(warning(other).empty(), other);
    }
}

TEST_CASE("a long value is cut where it is quoted") {
    const auto& warning = read("AGENT_DRAIN", std::string(100'000, 'x')).warning;
    CHECK(warning.size() < 200);
    CHECK(warning.find("x…', not closed") != std::string::npos);
}

}  // namespace lastcall
