#include "cli/client.hpp"

#include <doctest/doctest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <cstdlib>

#include "tests/unit/fake_agent.hpp"

using namespace lastcall::cli;
using lastcall::testing::FakeAgent;
using lastcall::testing::http;
using lastcall::testing::Latch;
using lastcall::testing::problem;
using namespace std::chrono_literals;

namespace {

/// What `call` throws when the agent's answer is `bytes`; "" if nothing.
std::string failure(const std::string& bytes, std::string* socket = nullptr) {
    FakeAgent agent([&](const FakeAgent::Request&) { return bytes; });
    if (socket) *socket = agent.socket();
    try {
        call(agent.socket(), "GET", "/v1/tasks");
    } catch (const std::exception& error) {
        std::string text = error.what();
        if (const auto at = text.find(agent.socket()); at != text.npos) {
            text.replace(at, agent.socket().size(), "SOCK");
        }
        return text;
    }
    return "";
}

std::string no_agent(const std::string& socket) {
    try {
        call(socket, "GET", "/v1/tasks");
    } catch (const NoAgent& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("client: a call carries its body and returns the answer's JSON") {
    FakeAgent agent([](const FakeAgent::Request&) { return http(200, R"({"a": [1, 2.5]})"); });
    const json::value answer = call(agent.socket(), "POST", "/v1/tasks/web/stop?wait=false",
                                    json::object{{"drain", false}});
    CHECK(answer == json::value{{"a", {1, 2.5}}});
    CHECK(agent.requests() == std::vector<FakeAgent::Request>{
                                  {"POST /v1/tasks/web/stop?wait=false", R"({"drain":false})"}});
}

TEST_CASE("client: an answer without content is null") {
    FakeAgent agent([](const FakeAgent::Request&) { return http(204, ""); });
    CHECK(call(agent.socket(), "DELETE", "/v1/tasks/web").is_null());
}

TEST_CASE("client: no agent at the socket is told with what to do") {
    CHECK(
        no_agent("/nowhere/agent.sock") ==
        "cannot reach an agent at '/nowhere/agent.sock': No such file or directory; start one with "
        "`agent serve`, or name its socket with --socket or AGENT_SOCKET");
    CHECK(no_agent("/dev/null")
              .starts_with("cannot reach an agent at '/dev/null': Connection refused"));
    CHECK(no_agent("/" + std::string(300, 'x')).find("File name too long") != std::string::npos);
    CHECK(no_agent("").starts_with("cannot reach an agent at ''"));
}

TEST_CASE("client: what answers without speaking HTTP is named") {
    CHECK(failure("SSH-2.0-OpenSSH_9.2\r\n\r\n") ==
          "cannot understand what answers at 'SOCK': bad version; is it an agent?");
}

TEST_CASE("client: a connection that closes or breaks off is told apart") {
    CHECK(failure("") == "lost the agent at 'SOCK': it closed the connection before it answered");
    CHECK(failure("HTTP/1.1 200 OK\r\nContent-") ==
          "lost the agent at 'SOCK': its answer broke off");
}

TEST_CASE("client: half a body is no answer") {
    FakeAgent agent([](const FakeAgent::Request& request) {
        // No second answer: the first promised more than it brought, then the connection closes.
        return request.line == "GET /v1/half"
                   ? "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"a\":"
                   : "";
    });
    CHECK_THROWS_WITH(call(agent.socket(), "GET", "/v1/half"),
                      ("lost the agent at '" + agent.socket() + "': its answer broke off").c_str());
}

TEST_CASE("client: an answer that is no JSON is refused") {
    CHECK(failure(http(200, "<html>"))
              .starts_with("cannot understand the agent's answer: cannot read"));
}

TEST_CASE("client: a problem's detail is the message, its status and members are kept") {
    FakeAgent agent([](const FakeAgent::Request&) {
        return http(
            409, R"({"title": "Conflict", "detail": "'web' is taken", "stop": {"task": "web"}})");
    });
    try {
        call(agent.socket(), "POST", "/v1/tasks", json::object{});
        FAIL("it was refused");
    } catch (const Refused& error) {
        CHECK(std::string(error.what()) == "'web' is taken");
        CHECK(error.status() == 409);
        CHECK(error.problem().as_object().at("stop").as_object().at("task") == "web");
    }
}

TEST_CASE("client: an error without a problem still says something") {
    CHECK(failure("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") ==
          "the agent answered 502 Bad Gateway");
    CHECK(failure(http(500, R"({"title": "Internal Server Error", "detail": ""})")) ==
          "Internal Server Error");
    CHECK(failure(http(500, R"(["detail"])")) == "the agent answered 500 Whatever");
}

TEST_CASE("client: an agent that is silent is not waited for without end") {
    Latch over;
    FakeAgent agent([&](const FakeAgent::Request&) {
        over.wait();
        return std::string();
    });
    CHECK_THROWS_WITH(
        call(agent.socket(), "GET", "/v1/tasks", std::nullopt, 20ms),
        ("the agent at '" + agent.socket() + "' has not answered within 20 ms").c_str());
    over.set();
}

TEST_CASE("client: one connection serves several calls, and is made again when it was closed") {
    std::atomic<int> count = 0;
    FakeAgent agent([&](const FakeAgent::Request&) {
        // The third request finds the connection closed without an answer.
        return ++count == 3 ? std::string() : http(200, "{}");
    });
    asio::io_context io(1);
    Client client(io.get_executor(), agent.socket());
    const auto once = [&](const char* method) {
        std::exception_ptr failure;
        asio::co_spawn(io, client.call(method, "/x"),
                       [&](std::exception_ptr error, json::value) { failure = error; });
        io.restart();
        io.run_for(5s);
        return !failure;
    };
    CHECK(once("GET"));
    CHECK(once("GET"));
    CHECK(agent.connections() == 1);
    CHECK(once("GET"));  // asked again on a new connection
    CHECK(agent.connections() == 2);
    CHECK(agent.requests().size() == 4);
    count = 2;
    CHECK(!once("POST"));  // never sent twice: it may have been done
    CHECK(agent.requests().size() == 5);
}

TEST_CASE("client: a task's name stays one segment of the path") {
    CHECK(task_path("web-1.a_b", "/stop") == "/v1/tasks/web-1.a_b/stop");
    CHECK(task_path("a/b?c d%é") == "/v1/tasks/a%2Fb%3Fc%20d%25%C3%A9");
    CHECK(task_path("..", "/stop") == "/v1/tasks/%2E%2E/stop");
}

TEST_CASE("client: AGENT_SOCKET names the socket, else it is where this user's agent listens") {
    ::setenv("AGENT_SOCKET", "/tmp/mine.sock", 1);
    CHECK(default_socket() == "/tmp/mine.sock");
    ::unsetenv("AGENT_SOCKET");
    ::setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    CHECK(default_socket() ==
          (::getuid() == 0 ? "/run/lastcall/agent.sock" : "/run/user/7/lastcall/agent.sock"));
    ::unsetenv("XDG_RUNTIME_DIR");
    CHECK(default_socket() == "/run/lastcall/agent.sock");
}
