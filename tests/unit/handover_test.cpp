#include "agent/handover.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "agent/inherited_listeners.hpp"
#include "agent/take_over_check.hpp"

using namespace lastcall;

namespace {

Handover some_handover() {
    Handover handover{.lock = 4, .listeners = {7, 19}, .silent_since = 123'456'789'012};
    sigemptyset(&handover.inherited.mask);
    sigaddset(&handover.inherited.mask, SIGUSR1);
    sigaddset(&handover.inherited.mask, SIGRTMAX);
    handover.inherited.ignores_sigchld = true;
    handover.inherited.open_files = rlimit{1024, RLIM_INFINITY};
    return handover;
}

/// A socket that listens on a loopback port of the kernel's choice, and its address.
struct Listening {
    Listening() : descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        REQUIRE(::bind(descriptor, generic, size) == 0);
        REQUIRE(::listen(descriptor, 1) == 0);
        REQUIRE(::getsockname(descriptor, generic, &size) == 0);
    }
    int take() const {
        return inherited_listener(reinterpret_cast<const sockaddr*>(&address), size);
    }
    int descriptor;
    sockaddr_in address{};
    socklen_t size = sizeof address;
};

bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) != -1; }

}  // namespace

TEST_CASE("a handover is read back as it was written") {
    const Handover handover = some_handover();
    const auto back = Handover::from(handover.text());
    REQUIRE(back);
    CHECK(*back == handover);
    CHECK(back->silent_since == 123'456'789'012);
    CHECK(back->listeners == std::vector<int>{7, 19});
    CHECK(sigismember(&back->inherited.mask, SIGUSR1) == 1);
    CHECK(sigismember(&back->inherited.mask, SIGTERM) == 0);
    CHECK(back->inherited.open_files->rlim_max == RLIM_INFINITY);
    Handover bare{.lock = 3};
    REQUIRE(Handover::from(bare.text()));
    CHECK_FALSE(Handover::from(bare.text())->inherited.open_files);
}

TEST_CASE("a handover of another version, or no handover at all, is none") {
    const std::string good = some_handover().text();
    CHECK_FALSE(Handover::from(""));
    CHECK_FALSE(Handover::from("2" + good.substr(1)));
    CHECK_FALSE(Handover::from("1"));
    CHECK_FALSE(Handover::from(good + " more=1"));
    CHECK_FALSE(Handover::from(good.substr(0, good.find("mask"))));
    for (std::size_t end = 0; end < good.size(); ++end) Handover::from(good.substr(0, end));
}

TEST_CASE("the handover's variable is removed before anybody else can see it") {
    ::setenv(handover_variable, some_handover().text().c_str(), 1);
    CHECK(take_handover());
    CHECK_FALSE(std::getenv(handover_variable));
    CHECK_FALSE(take_handover());
    ::setenv(handover_variable, "rubbish", 1);
    CHECK_THROWS_WITH(take_handover(), doctest::Contains("is 'rubbish'"));
    CHECK_FALSE(std::getenv(handover_variable));
}

TEST_CASE("an exec that fails leaves every descriptor as it was") {
    const Listening one;
    Handover handover{.lock = ::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    handover.listeners = {one.descriptor};
    CHECK(execute("/nonexistent/agent", {"agent"}, {}, handover) == ENOENT);
    CHECK(::fcntl(one.descriptor, F_GETFD) == FD_CLOEXEC);
    CHECK(::fcntl(handover.lock, F_GETFD) == FD_CLOEXEC);
    ::close(handover.lock);
    ::close(one.descriptor);
}

TEST_CASE("listening sockets are found, and taken by their address, once") {
    const Listening one, two;
    const auto found = our_listeners({two.descriptor});
    CHECK(std::ranges::count(found, one.descriptor) == 1);
    CHECK(std::ranges::count(found, two.descriptor) == 0);
    inherit_listeners({one.descriptor, two.descriptor});
    CHECK(one.take() == one.descriptor);
    CHECK(one.take() == -1);
    close_inherited_listeners();
    CHECK_FALSE(is_open(two.descriptor));
    CHECK(is_open(one.descriptor));
    ::close(one.descriptor);
}

TEST_CASE(
    "what lacks the mark is closed by an exec all the same, but not what was there before us") {
    const int ours = ::open("/dev/null", O_RDONLY), theirs = ::open("/dev/null", O_RDONLY);
    Handover handover{.lock = ::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    handover.inherited_descriptors = open_descriptors();
    std::erase(handover.inherited_descriptors, ours);
    execute("/nonexistent/agent", {"agent"}, {}, handover);
    CHECK(::fcntl(ours, F_GETFD) == FD_CLOEXEC);
    CHECK(::fcntl(theirs, F_GETFD) == 0);
    for (const int each : {ours, theirs, handover.lock}) ::close(each);
}

TEST_CASE("what can take over says so in one way") {
    CHECK(version_in(take_over_answer("1.2.3")) == "1.2.3");
    CHECK(version_in("agent 1.2.3\n").empty());
    CHECK(version_in("").empty());
    CHECK(version_in("agent  can take over, handover 2\n").empty());
}
