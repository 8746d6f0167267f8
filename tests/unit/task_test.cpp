#include "supervisor/task.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <stdexcept>
#include <string>

#include "supervisor/load_balancer.hpp"

namespace lastcall {

TEST_CASE("statuses, stop codes and target states are spelled as ECS spells them") {
    CHECK(to_string(TaskStatus::pending) == "PENDING");
    CHECK(to_string(TaskStatus::deactivating) == "DEACTIVATING");
    CHECK(to_string(TaskStatus::stopped) == "STOPPED");
    CHECK(to_string(StopCode::user_initiated) == "UserInitiated");
    CHECK(to_string(StopCode::essential_container_exited) == "EssentialContainerExited");
    CHECK(to_string(StopCode::service_scheduler_initiated) == "ServiceSchedulerInitiated");
    CHECK(to_string(TargetState::draining) == "draining");
    CHECK(to_string(TargetState::unused) == "unused");
    CHECK_THROWS_AS(to_string(static_cast<TaskStatus>(99)), std::logic_error);
}

TEST_CASE("drain modes and signal scopes are read as they are written") {
    for (const auto mode :
         {DrainMode::closed, DrainMode::strict, DrainMode::idle, DrainMode::none}) {
        CHECK(drain_mode(to_string(mode)) == mode);
    }
    for (const auto scope : {SignalScope::main, SignalScope::group, SignalScope::tree}) {
        CHECK(signal_scope(to_string(scope)) == scope);
    }
    CHECK_FALSE(drain_mode("Closed"));
    CHECK_FALSE(drain_mode(""));
    CHECK_FALSE(signal_scope("everyone"));
}

TEST_CASE("a signal is known by number and by name, in any case, with or without SIG") {
    for (const auto text : {"15", "TERM", "SIGTERM", "sigterm", "SigTerm", "term"}) {
        CHECK_MESSAGE(signal_number(text) == SIGTERM, text);
    }
    CHECK(signal_number("CLD") == SIGCHLD);
    CHECK(signal_number("POLL") == SIGIO);
    CHECK(signal_number("RTMIN") == SIGRTMIN);
    CHECK(signal_number("RTMIN+3") == SIGRTMIN + 3);
    CHECK(signal_number("sigrtmax-1") == SIGRTMAX - 1);
    CHECK(signal_number("64") == 64);
}

TEST_CASE("what is no signal is refused") {
    for (const auto text : {"",
                            "0",
                            "65",
                            "-15",
                            "+15",
                            " 15",
                            "15 ",
                            "1.5",
                            "SIG",
                            "SIG15",
                            "FOO",
                            "SIGSIGTERM",
                            "TERMINATE",
                            "RTMIN-1",
                            "RTMAX+1",
                            "RTMIN+31",
                            "RTMAX-31",
                            "RTMIN+",
                            "RTMIN+x",
                            "99999999999999999999",
                            "RTMIN+99999999999999999999"}) {
        CHECK_MESSAGE(!signal_number(text), text);
    }
}

TEST_CASE("every signal has a name that leads back to it") {
    for (int number = 1; number <= 64; ++number) {
        CHECK_MESSAGE(signal_number(signal_name(number)) == number, number);
    }
    CHECK(signal_name(SIGTERM) == "SIGTERM");
    CHECK(signal_name(SIGABRT) == "SIGABRT");
    CHECK(signal_name(SIGCHLD) == "SIGCHLD");
    CHECK(signal_name(SIGRTMIN) == "SIGRTMIN");
    CHECK(signal_name(SIGRTMIN + 3) == "SIGRTMIN+3");
    CHECK(signal_name(SIGRTMAX - 2) == "SIGRTMAX-2");
    CHECK(signal_name(32) == "32");
    CHECK(signal_name(99) == "99");
}

TEST_CASE("a task's name can become a file name and part of a URL") {
    for (const auto name : {"web", "web-1", "7up", "A_b.c-d", "x"}) {
        CHECK_MESSAGE(!name_trouble(name), name);
    }
    CHECK_FALSE(name_trouble(std::string(255, 'a')));
    for (const auto name :
         {"", ".", "..", "-rf", "_x", "a/b", "../etc", "a b", "a\nb", "caf\xc3\xa9"}) {
        CHECK_MESSAGE(name_trouble(name), name);
    }
    CHECK(name_trouble(std::string(256, 'a')) ==
          "a task's name has at most 255 characters, not 256");
    CHECK(name_trouble(std::string_view("a\0b", 3)));
}

}  // namespace lastcall
