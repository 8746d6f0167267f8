#include "agent/lb/url.hpp"

#include <doctest/doctest.h>

#include <map>
#include <stdexcept>

#include "agent/config/url_text.hpp"
#include "agent/lb/lb.hpp"

using namespace lastcall;
using namespace std::chrono_literals;

namespace {

std::string trouble(const std::string& url) {
    return load_balancer_url_trouble(url, "").value_or("");
}

/// The line names the URL and ends with what was wrong.
void check_trouble(const std::string& url, const std::string& why) {
    CHECK(trouble(url) == "cannot use load balancer '" + url + "': " + why);
}

}  // namespace

TEST_CASE("HAProxy's URLs are understood: a unix socket") {
    const auto url = parse_load_balancer_url("haproxy:///run/haproxy/admin.sock?server=web/web1");
    CHECK(url.scheme == "haproxy");
    CHECK(url.socket_path == "/run/haproxy/admin.sock");
    CHECK(url.target == "web/web1");
    CHECK_FALSE(url.registers);  // not said
    CHECK_FALSE(url.drain);
    CHECK_FALSE(url.port);
    CHECK(url.load_balancer() == "haproxy:///run/haproxy/admin.sock");
    CHECK(parse_load_balancer_url("haproxy:/run/a.sock?server=b/s").socket_path == "/run/a.sock");
}

TEST_CASE("HAProxy's URLs are understood: TCP, and every common parameter") {
    const auto url = parse_load_balancer_url(
        "haproxy://127.0.0.1:9999?server=a.b:c/"
        "s_1-2&register=0&drain=strict&timeout=2s&settle=250ms&"
        "port=8081");
    CHECK(url.socket_path.empty());
    CHECK(url.endpoint.address().to_string() == "127.0.0.1");
    CHECK(url.endpoint.port() == 9999);
    CHECK(url.target == "a.b:c/s_1-2");
    CHECK(url.registers == false);
    CHECK(url.drain == DrainMode::strict);
    CHECK(url.timeout == 2s);
    CHECK(url.settle == 250ms);
    CHECK(url.port == 8081);
    const auto six = parse_load_balancer_url("HAProxy://[::1]:9999/?server=web%2Fweb1");
    CHECK(six.endpoint.address().is_v6());
    CHECK(six.target == "web/web1");
    CHECK(six.load_balancer() == "haproxy://[::1]:9999");
}

TEST_CASE("readiness URLs are understood") {
    const auto url = parse_load_balancer_url("readiness://0.0.0.0:8081/ready?fail=404&fails=5");
    CHECK(url.scheme == "readiness");
    CHECK(url.target == "/ready");
    CHECK(url.endpoint.port() == 8081);
    CHECK(url.fail == 404);
    CHECK(url.fails == 5);
    const auto plain = parse_load_balancer_url("readiness://[::]:8081");
    CHECK(plain.target == "/");
    CHECK(plain.fail == 503);
    CHECK(plain.fails == 3);
    CHECK_FALSE(plain.agent_check);
    CHECK(parse_load_balancer_url("readiness://[::]:8081/r?agent-check=8082").agent_check == 8082);
}

TEST_CASE("a scheme without a program is refused, with where that would have to be") {
    const auto found = [](const std::string& url) {
        return *load_balancer_url_trouble(url, "/a:b");
    };
    CHECK(found("f5://pool?x=1") ==
          "unknown load balancer scheme 'f5' in 'f5://pool?x=1': expected haproxy or readiness, or "
          "a program agent-lb-f5 in /a or b (AGENT_HELPER_PATH)");
    CHECK(
        found("haprxy:///run/a.sock") ==
        "unknown load balancer scheme 'haprxy' in 'haprxy:///run/a.sock': did you mean 'haproxy'?");
    CHECK(found("f5://me:geheim@pool?api-token=geheim").find("geheim") == std::string::npos);
}

TEST_CASE("a helper gets its URL as it was written, but for what is the agent's own") {
    const auto target = [](const std::string& url) { return parse_load_balancer_url(url).target; };
    CHECK(target("elbv2:?target-group-arn=arn:aws:x/y&settle=1s&port=80&register=0&drain=idle") ==
          "elbv2:?target-group-arn=arn:aws:x/y&port=80");
    CHECK(target("F5://10.0.0.1/pool?timeout=3s") == "F5://10.0.0.1/pool");
    CHECK(target("x:y?flag&a=%20b&&c=") == "x:y?flag&a=%20b&&c=");
    const auto url = parse_load_balancer_url("x:y?settle=7s&port=8080&register=1&drain=strict");
    CHECK(url.scheme == "x");
    CHECK(url.is_helpers());
    CHECK(url.settle == 7s);
    CHECK(url.port == 8080);
    CHECK(url.registers == true);
    CHECK(url.drain == DrainMode::strict);
    check_trouble("x:y?port=0", "port is '0', expected a port, 1 to 65535");
    check_trouble("x:y?drain=no", "drain is 'no', expected closed, strict, idle or none");
}

TEST_CASE("what is no URL is refused") {
    for (const std::string url :
         {"", " ", "haproxy", "/run/haproxy.sock", "://", "haproxy://[::1", "1x:y",
          "haproxy:///run/a b?server=b/s", "haproxy:///a%zz?server=b/s"}) {
        CAPTURE(url);
        check_trouble(url, "it is no URL, expected haproxy://…, readiness://… or SCHEME:…");
    }
}

TEST_CASE("a server must be named, in HAProxy's own characters") {
    const std::string expected = ", expected BACKEND/SERVER of letters, digits and - _ . :";
    const std::string socket = "haproxy:///run/h.sock?";
    check_trouble("haproxy:///run/h.sock", "it has no server, expected server=BACKEND/SERVER");
    check_trouble(socket + "register=1", "it has no server, expected server=BACKEND/SERVER");
    check_trouble(socket + "server=", "server is ''" + expected);
    check_trouble(socket + "server=web1", "server is 'web1'" + expected);
    check_trouble(socket + "server=/web1", "server is '/web1'" + expected);
    check_trouble(socket + "server=web/", "server is 'web/'" + expected);
    check_trouble(socket + "server=a/b/c", "server is 'a/b/c'" + expected);
    check_trouble(socket + "server=web/a;shutdown", "server is 'web/a;shutdown'" + expected);
    check_trouble(socket + "server=web/a%20b", "server is 'web/a b'" + expected);
    check_trouble(socket + "server=web/a%0Ashow", "server is 'web/a\\x0ashow'" + expected);
    check_trouble(socket + "server=web/%C3%A4", "server is 'web/ä'" + expected);
    check_trouble(socket + "server=web/a&server=web/b", "parameter 'server' is there twice");
}

TEST_CASE("addresses are numeric, ports are ports") {
    check_trouble("haproxy://localhost:9999?server=b/s",
                  "host is 'localhost', expected a numeric address: names are not resolved");
    check_trouble("haproxy://127.1:9999?server=b/s",
                  "host is '127.1', expected a numeric address: names are not resolved");
    check_trouble("haproxy://127.0.0.1?server=b/s", "it has no port, expected 127.0.0.1:PORT");
    check_trouble("haproxy://127.0.0.1:?server=b/s", "port is '', expected 1 to 65535");
    check_trouble("haproxy://127.0.0.1:0?server=b/s", "port is '0', expected 1 to 65535");
    check_trouble("haproxy://127.0.0.1:70000?server=b/s", "port is '70000', expected 1 to 65535");
    check_trouble("haproxy://127.0.0.1:9999/run/x?server=b/s",
                  "path is '/run/x', expected none after a TCP address");
    check_trouble("readiness:/ready", "it has no address, expected readiness://ADDRESS:PORT/PATH");
    check_trouble("readiness://:8081/ready",
                  "host is '', expected a numeric address: names are not resolved");
    const std::string address = "expected haproxy:///PATH/TO/SOCKET or haproxy://ADDRESS:PORT";
    check_trouble("haproxy://?server=b/s", "address is '', " + address);
    check_trouble("haproxy:///?server=b/s", "address is '/', " + address);
    check_trouble("haproxy:run/x?server=b/s", "address is 'run/x', " + address);
    check_trouble("haproxy:///" + std::string(107, 'x') + "?server=b/s",
                  "socket path has 108 bytes, expected at most 107 (unix(7))");
    CHECK(trouble("haproxy:///" + std::string(106, 'x') + "?server=b/s").empty());
    check_trouble("haproxy://u:p@127.0.0.1:9999?server=b/s", "it has a user name, expected none");
    check_trouble("haproxy:///run/x?server=b/s#top", "it has a fragment (#), expected none");
}

TEST_CASE("parameters out of range are refused with what was expected") {
    const std::string socket = "haproxy:///run/h.sock?server=b/s&";
    check_trouble(socket + "register=yes", "register is 'yes', expected 0 or 1");
    check_trouble(socket + "drain=open", "drain is 'open', expected closed, strict, idle or none");
    check_trouble(socket + "timeout=0", "timeout is '0', expected a duration above 0, like 5s");
    check_trouble(socket + "timeout=soon",
                  "timeout is 'soon', expected a duration above 0, like 5s");
    check_trouble(socket + "settle=-1s", "settle is '-1s', expected a duration, like 100ms");
    check_trouble(socket + "port=0", "port is '0', expected a port, 1 to 65535");
    check_trouble(socket + "port=70000", "port is '70000', expected a port, 1 to 65535");
    check_trouble(socket + "port=+80", "port is ' 80', expected a port, 1 to 65535");
    check_trouble(socket + "port", "port is '', expected a port, 1 to 65535");
    const std::string ready = "readiness://127.0.0.1:8081/r?";
    check_trouble(ready + "fail=200", "fail is '200', expected an HTTP status, 400 to 599");
    check_trouble(ready + "fails=0", "fails is '0', expected a number of probes, 1 to 1000");
    check_trouble(ready + "fails=99999999999999999999",
                  "fails is '99999999999999999999', expected a number of probes, 1 to 1000");
    for (const std::string port : {"0", "70000", "", "8081", "x", "8082,8083"}) {
        CAPTURE(port);
        check_trouble(
            ready + "agent-check=" + port,
            "agent-check is '" + port + "', expected a port, 1 to 65535, other than the URL's own");
    }
}

TEST_CASE("an unknown parameter is refused, and the nearest suggested") {
    const std::string socket = "haproxy:///run/h.sock?server=b/s&";
    check_trouble(socket + "time_out=5s", "unknown parameter 'time_out': did you mean 'timeout'?");
    check_trouble(socket + "regster=1", "unknown parameter 'regster': did you mean 'register'?");
    check_trouble(socket + "colour=red",
                  "unknown parameter 'colour': expected one of server, register, drain, timeout, "
                  "settle, port");
    check_trouble(socket + "fails=3",
                  "unknown parameter 'fails': expected one of server, register, drain, timeout, "
                  "settle, port");
    check_trouble(socket + "agent-check=8082",
                  "unknown parameter 'agent-check': expected one of server, register, drain, "
                  "timeout, settle, port");
    check_trouble("readiness://127.0.0.1:8081/r?agent_check=8082",
                  "unknown parameter 'agent_check': did you mean 'agent-check'?");
    check_trouble("readiness://127.0.0.1:8081/r?server=b/s",
                  "unknown parameter 'server': expected one of register, drain, timeout, settle, "
                  "port, fail, fails, agent-check");
}

TEST_CASE("trouble with an endless URL is one short line") {
    const std::string line = trouble("haproxy:///run/x?server=b/" + std::string(100000, 'x') + ";");
    CHECK(line.size() < 800);
    CHECK(line.find('\n') == std::string::npos);
}

TEST_CASE("what stands right behind a port is no path") {
    check_trouble("readiness://127.0.0.1:8081.example/ready",
                  "path is '.example/ready', expected one that begins with /");
}

TEST_CASE("a URL without a path gets one before it is parsed, and is otherwise left alone") {
    for (const auto& [url, expected] :
         std::map<std::string, std::string>{{"x:?a=b", "x:/?a=b"},
                                            {"x:", "x:/"},
                                            {"x:#f", "x:/#f"},
                                            {"x:y?a", "x:y?a"},
                                            {"x://h", "x://h"},
                                            {"no colon?", "no colon?"},
                                            {"", ""}}) {
        CHECK(with_path(url) == expected);
    }
}
