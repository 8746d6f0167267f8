#include "agent/api/listener.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <vector>

#include "agent/inherited_listeners.hpp"
#include "tests/live/http_test_server.hpp"

using namespace lastcall;

namespace {

std::string refusal_of_listening_on(const std::string& path) {
    asio::io_context io(1);
    try {
        api::Listener listener(io.get_executor(), path);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "none";
}

}  // namespace

TEST_CASE("the mode is right from the first moment, whatever the umask") {
    Folder folder;
    const mode_t before = ::umask(0);
    asio::io_context io(1);
    {
        api::Listener listener(io.get_executor(), folder.path + "/a.sock");
        CHECK(mode_of(folder.path + "/a.sock") == 0600);
    }
    ::umask(before);
}

TEST_CASE("a dead agent's socket is replaced, and a stranger's file is not") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    const pid_t child = ::fork();
    if (child == 0) {
        asio::io_context io(1);
        api::Listener listener(io.get_executor(), path);
        ::_exit(0);  // as if killed: nothing is unlinked
    }
    ::waitpid(child, nullptr, 0);
    REQUIRE(std::filesystem::is_socket(path));
    CHECK(refusal_of_listening_on(path) == "none");
    CHECK_FALSE(std::filesystem::exists(path));
    ::close(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK(refusal_of_listening_on(path) ==
          fmt::format("cannot listen on '{}': something that is no socket is there", path));
    CHECK(std::filesystem::exists(path));
}

TEST_CASE("a socket that somebody else has bound meanwhile is not unlinked") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    asio::io_context io(1);
    std::optional<api::Listener> old(std::in_place, io.get_executor(), path);
    std::filesystem::remove(path);
    api::Listener replacement(io.get_executor(), path);
    old.reset();
    CHECK(std::filesystem::is_socket(path));
}

TEST_CASE("a path that can't be is refused with its reason") {
    Folder folder;
    CHECK(refusal_of_listening_on("") == "cannot listen on '': the path is empty");
    CHECK(refusal_of_listening_on(folder.path + "/" + std::string(200, 'x'))
              .ends_with(": the path is longer than 107 bytes"));
    CHECK(refusal_of_listening_on("/proc/nothing/agent.sock") ==
          "cannot listen on '/proc/nothing/agent.sock': cannot make '/proc/nothing': "
          "No such file or directory");
    CHECK(refusal_of_listening_on("/dev/null/agent.sock").find("/dev/null") != std::string::npos);
}

TEST_CASE("of many agents that start at once on a dead one's socket, one gets it") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    int start[2], hold[2];
    REQUIRE(::pipe(start) == 0);
    REQUIRE(::pipe(hold) == 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(start[1]);
            ::close(hold[1]);
            char byte;
            if (::read(start[0], &byte, 1) != 0) ::_exit(2);  // the pipe's end is the start
            asio::io_context io(1);
            try {
                api::Listener listener(io.get_executor(), path);
                if (::read(hold[0], &byte, 1) != 0) ::_exit(2);
                ::_exit(std::filesystem::is_socket(path) ? 0 : 3);
            } catch (const std::runtime_error&) {
                ::_exit(1);
            }
        }
        children.push_back(child);
    }
    ::close(start[0]);
    ::close(start[1]);
    int losers = 0, winners = 0;
    for (std::size_t i = 0; i + 1 < children.size(); ++i) {
        int status = 0;
        ::waitpid(-1, &status, 0);
        losers += WIFEXITED(status) && WEXITSTATUS(status) == 1;
    }
    ::close(hold[0]);
    ::close(hold[1]);
    int status = 0;
    ::waitpid(-1, &status, 0);
    winners += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    CHECK(losers == 7);
    CHECK(winners == 1);
}

TEST_CASE("a second server on the same path is refused, with the pid of the first") {
    Server server;
    CHECK(refusal_of_listening_on(server.path) ==
          fmt::format("cannot listen on '{}': another agent (pid {}) is", server.path, ::getpid()));
    CHECK(answer_to(server, "GET /ping HTTP/1.0\r\n\r\n").ends_with("pong"));
}

TEST_CASE("a socket that this process had before is used as it is, with who waits in its backlog") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    asio::io_context io(1);
    api::Listener before(io.get_executor(), path);
    Client waiting(path);
    const int kept = ::fcntl(before.acceptor().native_handle(), F_DUPFD_CLOEXEC, 0);
    inherit_listeners({kept});
    api::Listener after(io.get_executor(), path);
    CHECK(after.acceptor().native_handle() == kept);
    const int accepted = ::accept4(kept, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(accepted >= 0);
    ::close(accepted);
}

TEST_CASE("a socket that this process had before is of no use when its name is gone") {
    Folder folder;
    const std::string path = folder.path + "/agent.sock";
    asio::io_context io(1);
    {
        api::Listener before(io.get_executor(), path);
        inherit_listeners({::fcntl(before.acceptor().native_handle(), F_DUPFD_CLOEXEC, 0)});
    }
    REQUIRE_FALSE(std::filesystem::exists(path));
    api::Listener after(io.get_executor(), path);
    CHECK(Client(path).connected);
}
