#pragma once
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/helpers/aws/api.hpp"
#include "agent/helpers/aws/elb.hpp"
#include "agent/helpers/aws/elbv2.hpp"
#include "agent/helpers/aws/session.hpp"
#include "tests/unit/sim.hpp"

namespace lastcall::aws {

/// The network: every request is answered after `latency` by `answer`, and remembered.
class FakeHttp final : public Http {
 public:
    explicit FakeHttp(Clock& clock) : clock_(clock) {}
    awaitable<HttpResponse> send(HttpRequest request) override {
        sent.push_back({clock_.now() - Clock::time_point{}, request});
        auto travelling = clock_.sleep_until(after(clock_.now(), latency));
        co_await std::move(travelling);
        co_return answer(request);
    }
    struct Sent {
        Clock::duration at;
        HttpRequest request;
    };
    std::vector<Sent> sent;
    Clock::duration latency = 10ms;
    std::function<HttpResponse(const HttpRequest&)> answer;

 private:
    Clock& clock_;
};

inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

inline HttpResponse ok(std::string body) { return {.status = 200, .body = std::move(body)}; }

inline HttpResponse refusal(unsigned status, const std::string& code,
                            const std::string& message = "no") {
    return {.status = status,
            .body = fmt::format("<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code>"
                                "<Message>{}</Message></Error></ErrorResponse>",
                                code, message)};
}

/// "<ActionResponse><ActionResult>…</ActionResult></ActionResponse>"
inline HttpResponse reply(const std::string& action, const std::string& result = "") {
    return ok(
        fmt::format("<{0}Response xmlns=\"http://x/\"><{0}Result>{1}</{0}Result>"
                    "<ResponseMetadata/></{0}Response>",
                    action, result));
}

/// The helper in virtual time, on a machine with nothing but keys in its environment.
struct AwsWorld {
    AwsWorld() {
        variables = {{"AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"},
                     {"AWS_SECRET_ACCESS_KEY", "a-secret"},
                     {"AWS_REGION", "eu-west-1"},
                     {"AWS_EC2_METADATA_DISABLED", "true"}};
        http.answer = [this](const HttpRequest& request) { return dispatch(request); };
    }
    ~AwsWorld() { close(); }

    /// What is made when first needed, so that a test sets the variables before.
    struct Parts {
        explicit Parts(AwsWorld& world)
            : time(world.sim.clock,
                   [&world](const std::string& text) { world.said.push_back(text); }),
              gate(world.sim.executor()),
              instance(world.http, world.sim.clock, world.around),
              credentials(gate, world.sim.executor(), world.http, instance, time, world.around),
              api(world.http, world.sim.clock, time, credentials, instance, world.around,
                  [&world] { return world.dice; }),
              groups(elbv2(gate, world.sim.clock, world.sim.executor(), api, world.http, instance,
                           world.around)),
              classic(elb(gate, world.sim.clock, world.sim.executor(), api, instance)),
              notices(world.sim.clock, world.sim.executor(), api, instance),
              session(
                  gate, world.sim.clock, world.sim.executor(), *groups, *classic, notices,
                  [&world](std::string line) {
                      REQUIRE(line.back() == '\n');
                      line.pop_back();
                      world.lines.push_back({world.sim.clock.now() - Clock::time_point{}, line});
                  },
                  [&world](const std::string& text) { world.said.push_back(text); }) {}
        ServerTime time;
        Gate gate;
        InstanceMetadata instance;
        CredentialChain credentials;
        Api api;
        std::unique_ptr<Balancer> groups, classic;
        Notices notices;
        Session session;
    };
    Parts& parts() {
        if (!made) made = std::make_unique<Parts>(*this);
        return *made;
    }
    void close() {
        if (!made) return;
        made->gate.cancel();
        sim.run(made->gate.close());
        CHECK(sim.clock.sleepers() == 0);
        made.reset();
    }

    /// Metadata by URL, services by action; what isn't there can't be reached.
    HttpResponse dispatch(const HttpRequest& request) {
        for (const auto& [part, act] : servers) {
            if (contains(request.url, part)) return act(request);
        }
        const auto found = actions.find(action_of(request));
        if (found == actions.end()) throw HttpError(request.url + " doesn't answer: refused", true);
        return found->second(request);
    }
    static std::string action_of(const HttpRequest& request) {
        const auto begin = request.body.find("Action=");
        if (begin == std::string::npos) return "";
        return request.body.substr(begin + 7, request.body.find('&', begin) - begin - 7);
    }
    std::vector<FakeHttp::Sent> calls(const std::string& action) const {
        std::vector<FakeHttp::Sent> found;
        for (const auto& each : http.sent) {
            if (action_of(each.request) == action) found.push_back(each);
        }
        return found;
    }

    using Act = std::function<HttpResponse(const HttpRequest&)>;
    /// Whoever calls `action` gets this.
    void on(const std::string& action, Act act) { actions[action] = std::move(act); }
    void on(const std::string& action, HttpResponse response) {
        actions[action] = [response](const HttpRequest&) { return response; };
    }
    /// The same for URLs which hold that.
    void at_url(const std::string& part, Act act) { servers.emplace_back(part, std::move(act)); }
    void at_url(const std::string& part, HttpResponse response) {
        at_url(part, [response](const HttpRequest&) { return response; });
    }

    void take(const std::string& line) { parts().session.take(line); }
    /// All lines that have `part`.
    std::vector<std::string> lines_with(const std::string& part) const {
        std::vector<std::string> found;
        for (const auto& each : lines) {
            if (contains(each.second, part)) found.push_back(each.second);
        }
        return found;
    }
    /// Goes on until a line has `part`, and returns it.
    std::string wait_for(const std::string& part) {
        const bool there = sim.run_until([&] { return !lines_with(part).empty(); });
        if (!there) FAIL("never: ", part);
        return lines_with(part).back();
    }
    /// Goes on until that time.
    void until(Clock::duration at) { sim.run(sim.clock.sleep_until(Clock::time_point(at))); }
    /// Runs one API call to its end.
    std::string call(const std::string& action = "DeregisterTargets",
                     Clock::time_point deadline = never) {
        return sim.run(
            parts().api.call(elbv2_service, "eu-west-1", Query(action, elbv2_version), deadline,
                             [this](const std::string& text) { notes.push_back(text); }));
    }
    /// What a call throws: its text, "+" before it if a retry may help; "" if nothing.
    std::string failure_of(const std::function<void()>& act) {
        try {
            act();
            return "";
        } catch (const Failure& failure) {
            return (failure.retry() ? "+" : "") + std::string(failure.what());
        }
    }

    Sim sim;
    FakeHttp http{sim.clock};
    std::map<std::string, std::string> variables;
    std::map<std::string, std::string> files;
    Surroundings around{[this](const std::string& name) -> std::optional<std::string> {
                            const auto found = variables.find(name);
                            if (found == variables.end()) return std::nullopt;
                            return found->second;
                        },
                        [this](const std::string& path) -> std::optional<std::string> {
                            const auto found = files.find(path);
                            if (found == files.end()) return std::nullopt;
                            return found->second;
                        },
                        [] { return std::string("/home/me"); }};
    std::map<std::string, Act> actions;
    std::vector<std::pair<std::string, Act>> servers;
    double dice = 0;  ///< what every throw shows
    std::vector<std::string> said, notes;
    std::vector<std::pair<Clock::duration, std::string>> lines;
    std::unique_ptr<Parts> made;
};

}  // namespace lastcall::aws
