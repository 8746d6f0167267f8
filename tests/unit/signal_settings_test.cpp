#include <doctest/doctest.h>

#include <csignal>

#include "agent/config/settings.hpp"
#include "agent/definition.hpp"
#include "agent/signals.hpp"

using namespace lastcall;

namespace {

const Role plain{.command = "web"};

Configuration with(const std::string& name, const std::string& text, const Role& role = plain) {
    return configure(role, {{name, text}}, {});
}

std::string shown(const Configuration& configuration, const std::string& name) {
    for (const auto& row : configuration.rows) {
        if (row.name == name) return row.value + " (" + std::string(row.source) + ")";
    }
    return "";
}

std::optional<int> stop_signal(const std::string& map, const std::string& signal = "") {
    const auto read =
        configure(plain, {{"AGENT_SIGNAL_MAP", map}, {"AGENT_STOP_SIGNAL", signal}}, {});
    return wrapped_task(read.settings, {}).stop.stop_signal;
}

}  // namespace

TEST_CASE("a signal map is read from names and numbers, the last word on a signal counts") {
    const auto read = with("AGENT_SIGNAL_MAP", "HUP:USR1  15:sigint WINCH:0 RTMIN+1:2 HUP:USR2");
    CHECK(read.errors.empty());
    CHECK(read.settings.signal_map ==
          SignalMap{{SIGHUP, SIGUSR2}, {SIGTERM, SIGINT}, {SIGWINCH, 0}, {SIGRTMIN + 1, SIGINT}});
    CHECK(shown(read, "AGENT_SIGNAL_MAP") ==
          "SIGHUP:SIGUSR2 SIGTERM:SIGINT SIGWINCH:0 SIGRTMIN+1:SIGINT (environment)");
}

TEST_CASE("a signal map that is none is an error that names value and form") {
    for (const std::string text : {"HUP", "HUP:", ":HUP", "HUP:FOO", "FOO:HUP", "0:HUP", "HUP:65",
                                   "HUP:USR1:USR2", "KILL:TERM", "STOP:0", "CHLD:0", "HUP=USR1"}) {
        CAPTURE(text);
        const auto read = with("AGENT_SIGNAL_MAP", text);
        REQUIRE(read.errors.size() == 1);
        CHECK(read.errors[0].find("AGENT_SIGNAL_MAP is '" + text + "', not FROM:TO") == 0);
        CHECK(read.settings.signal_map.empty());
    }
    CHECK(configure(plain, {}, {{"signal-map", "x"}}).errors[0].starts_with("--signal-map is 'x'"));
}

TEST_CASE("what a signal is delivered as") {
    const SignalMap map{{SIGHUP, SIGUSR1}, {SIGWINCH, 0}};
    CHECK(delivered(map, SIGHUP) == SIGUSR1);
    CHECK(delivered(map, SIGWINCH) == 0);
    CHECK(delivered(map, SIGUSR1) == SIGUSR1);
}

TEST_CASE("a stop that no signal asked for delivers what its signal is mapped to") {
    CHECK_FALSE(stop_signal(""));
    CHECK_FALSE(stop_signal("HUP:USR1"));
    CHECK(stop_signal("TERM:QUIT") == SIGQUIT);
    CHECK(stop_signal("TERM:QUIT", "INT") == SIGINT);
    CHECK(stop_signal("TERM:QUIT INT:USR1", "INT") == SIGUSR1);
    CHECK_FALSE(stop_signal("TERM:0"));  // drops what is sent to the agent, no stop
    CHECK(stop_signal("QUIT:0", "QUIT") == SIGQUIT);
}

TEST_CASE("expected exit codes are 0 to 255") {
    const auto read = with("AGENT_EXPECT_EXIT_CODE", "143 0 255");
    CHECK(read.errors.empty());
    CHECK(read.settings.expected_codes == std::vector<std::uint8_t>{143, 0, 255});
    CHECK(shown(read, "AGENT_EXPECT_EXIT_CODE") == "143 0 255 (environment)");
    for (const std::string text : {"256", "-1", "x", "1x", "1.5", "99999999999"}) {
        CAPTURE(text);
        const auto bad = with("AGENT_EXPECT_EXIT_CODE", text);
        REQUIRE(bad.errors.size() == 1);
        CHECK(bad.errors[0] ==
              "AGENT_EXPECT_EXIT_CODE is '" + text + "', not an exit code from 0 to 255");
    }
}

TEST_CASE("the signal scope is main unless said otherwise") {
    CHECK(with("AGENT_SIGNAL_SCOPE", "").settings.stop.signal_scope == SignalScope::main);
    CHECK(with("AGENT_SIGNAL_SCOPE", "tree").settings.stop.signal_scope == SignalScope::tree);
    const auto bad = with("AGENT_SIGNAL_SCOPE", "all");
    CHECK(bad.settings.stop.signal_scope == SignalScope::main);
    REQUIRE(bad.warnings.size() == 1);
    CHECK(bad.warnings[0] == "AGENT_SIGNAL_SCOPE is 'all', not main, group or tree: using main");
}

TEST_CASE("inside another agent's task an inherited socket is that one's") {
    const std::map<std::string, std::string> inside{{"LASTCALL_TASK", "1"},
                                                    {"AGENT_SOCKET", "/run/outer.sock"}};
    CHECK(configure(plain, inside, {}).settings.socket.empty());
    CHECK(configure(plain, inside, {{"socket", "/run/own.sock"}}).settings.socket ==
          "/run/own.sock");
    const Role pid1{.pid1 = true, .command = "web"};
    CHECK(configure(pid1, inside, {}).settings.socket == "/run/outer.sock");
    CHECK(configure(plain, {{"AGENT_SOCKET", "/a"}}, {}).settings.socket == "/a");
}

TEST_CASE("the mask that the agent reads has every signal, those of the C library too") {
    const sigset_t all = all_signals();
    const auto* bytes = reinterpret_cast<const unsigned char*>(&all);
    for (int i = 0; i < 8; ++i) CHECK(bytes[i] == 0xFF);
}
