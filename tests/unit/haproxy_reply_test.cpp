#include "agent/lb/haproxy_reply.hpp"

#include <doctest/doctest.h>

#include <functional>

using namespace lastcall;

namespace {

// As HAProxy 2.6.12 answers, shortened in the columns that nobody reads.
const std::string state_header =
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port\n";
const std::string states = "1\n" + state_header +
                           "3 be 1 s1 127.0.0.1 0 8 1 28001\n"
                           "3 be 2 s2 127.0.0.1 2 0 1 28002\n";
const std::string stat_reply =
    "# pxname,svname,qcur,qmax,scur,smax,status,srv_icur,last_chk,\n"
    "be,s1,2,9,3,9,DOWN,4,\"a \"\"quoted\"\", comma\nand a line\",\n"
    "be,s2,0,0,0,0,no check,,,\n";
const std::string info =
    "Name: HAProxy\nVersion: 2.6.12\nPid: 7202\nStopping: 0\nBuild info: 2.6\n";

/// What is thrown: its text, "+" before it if a retry may help, "" if nothing.
std::string error(const std::function<void()>& act) {
    try {
        act();
        return "";
    } catch (const HaproxyError& refused) {
        return (refused.retry() ? "+" : "") + std::string(refused.what());
    }
}

}  // namespace

TEST_CASE("answers of one line are told apart by their empty lines") {
    const std::string reply = "\n" + states + "\n" + stat_reply + "\n";
    const auto answers = split_replies(reply, 3);
    REQUIRE(answers.size() == 3);
    CHECK(answers[0] == "");
    CHECK(std::string(answers[1]) + "\n" == states);
    CHECK(std::string(answers[2]) + "\n" == stat_reply);
    CHECK(split_replies("\n", 1) == std::vector<std::string_view>{""});
    CHECK(split_replies("\n\n", 2) == std::vector<std::string_view>{"", ""});
    CHECK(split_replies("No such server.\n\n", 1) ==
          std::vector<std::string_view>{"No such server."});
}

TEST_CASE("an answer that is cut short anywhere is no answer") {
    const std::string reply = "\n" + states + "\n" + stat_reply + "\n";
    for (std::size_t length = 0; length < reply.size(); ++length) {
        CAPTURE(length);
        const std::string text = error([&] { split_replies(reply.substr(0, length), 3); });
        CHECK(text.substr(0, 1) == "+");
    }
    CHECK(error([&] { split_replies("", 1); }) == "+it closed the connection without an answer");
}

TEST_CASE("an empty line is success, a refusal says whether a retry may help") {
    CHECK(error([] { expect_success(""); }) == "");
    CHECK(error([] { expect_success("No such server."); }) == "No such server.");
    CHECK(error([] { expect_success("No such backend."); }) == "No such backend.");
    CHECK(error([] { expect_success("Permission denied"); }) == "Permission denied");
    CHECK(error([] { expect_success("Require 'backend/server'."); }) ==
          "Require 'backend/server'.");
    CHECK(error([] { expect_success("Unknown command: 'set', but maybe\n  help"); }) ==
          "Unknown command: 'set', but maybe");
    CHECK(error([] { expect_success("Out of memory."); }) == "+Out of memory.");
}

TEST_CASE("a server's state is read by the names of the columns") {
    const ServerState state = server_state(states, "be", "s1");
    CHECK(state.operation == 0);
    CHECK(state.admin == 8);
    CHECK(state.port == 28001);
    CHECK(state.backend_id == 3);
    CHECK(state.server_id == 1);
    CHECK(server_state(states, "be", "s2").server_id == 2);
    const std::string other =
        "1\n# srv_port srv_admin_state srv_op_state srv_name be_name be_id srv_id\n0 1 2 s1 be 4 "
        "5\n";
    CHECK(server_state(other, "be", "s1").admin == 1);
    CHECK(server_state(other, "be", "s1").operation == 2);
    CHECK_FALSE(server_state(other, "be", "s1").port);
    CHECK_FALSE(
        server_state(
            "1\n# be_name srv_name srv_op_state srv_admin_state be_id srv_id\nbe s1 2 0 1 1\n",
            "be", "s1")
            .port);
}

TEST_CASE("what is no list of states is refused") {
    const auto refused = [](const std::string& answer) {
        return error([&] { server_state(answer, "be", "s1"); });
    };
    CHECK(error([] { server_state(states, "be", "s3"); }) == "No such server.");
    CHECK(error([] { server_state(states, "bee", "s1"); }) == "No such server.");
    CHECK(refused("Can't find backend.") == "Can't find backend.");
    CHECK(refused("1\n") == "+show servers state: it has no header");
    CHECK(refused("1\nbe s1 0 0\n") == "+show servers state: it has no header");
    CHECK(refused("1\n# be_name srv_name\nbe s1\n") == "+'srv_op_state' is '', expected a number");
    CHECK(refused("1\n" + state_header + "3 be 1 s1 127.0.0.1 0\n") ==
          "+'srv_admin_state' is '', expected a number");
    CHECK(refused("1\n" + state_header + "3 be 1 s1 127.0.0.1 x 0\n") ==
          "+'srv_op_state' is 'x', expected a number");
    CHECK(refused("1\n" + state_header + "3 be 1 s1 127.0.0.1 99999999999999999999 0\n") ==
          "+'srv_op_state' is '99999999999999999999', expected a number");
}

TEST_CASE("a server's load is read by the names of the columns, through quotes") {
    const ServerLoad load = server_load(stat_reply, "be", "s1");
    CHECK(load.sessions == 3);
    CHECK(load.queued == 2);
    CHECK(load.idle == 4);
    CHECK(server_load(stat_reply, "be", "s2").idle == 0);
    CHECK(error([] { server_load(stat_reply, "be", "s3"); }) == "No such server.");
    CHECK(error([] { server_load("No such proxy.", "be", "s1"); }) == "No such proxy.");
    CHECK(error([] { server_load("# pxname,svname,qcur\nbe,s1,0\n", "be", "s1"); }) ==
          "+'scur' is '', expected a number");
    CHECK(error([] { server_load("# pxname,svname,qcur,scur\nbe,s1,0,-1\n", "be", "s1"); }) ==
          "+'scur' is '-1', expected a number");
    CHECK(error([] { server_load("# pxname,svname\nbe,\"s1", "be", "s1"); }) ==
          "+show stat: a quote that never ends");
}

TEST_CASE("the process that answered is known by its pid") {
    CHECK(process_info(info).pid == 7202);
    CHECK_FALSE(process_info(info).stopping);
    CHECK(process_info("Name: HAProxy\nStopping: 1\n").stopping);
    CHECK(error([] { process_info("HTTP/1.1 400 Bad Request"); }) == "+HTTP/1.1 400 Bad Request");
}

TEST_CASE("rubbish of any shape is refused, never read beyond its end") {
    std::uint32_t seed = 1;
    const std::string alphabet = "# ,\"\n\n0189abes_\r\x01\xff";
    for (int round = 0; round < 20000; ++round) {
        std::string reply = round % 3 == 0   ? "1\n# "
                            : round % 3 == 1 ? "# pxname,svname,scur,qcur\n"
                                             : "";
        for (seed = seed * 1664525 + 1013904223; reply.size() < (seed >> 8) % 200;) {
            seed = seed * 1664525 + 1013904223;
            reply += alphabet[(seed >> 8) % alphabet.size()];
        }
        error([&] {
            for (const auto answer : split_replies(reply, 1 + round % 4)) {
                error([&] { server_state(answer, "be", "s1"); });
                error([&] { server_load(answer, "be", "s1"); });
                error([&] { process_info(answer); });
            }
        });
    }
}
