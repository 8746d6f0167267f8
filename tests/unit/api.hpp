#pragma once
#include <doctest/doctest.h>

#include <boost/json/value.hpp>
#include <memory>
#include <optional>
#include <string>

#include "agent/api/routes.hpp"
#include "agent/api/types.hpp"
#include "agent/config/settings.hpp"
#include "agent/definition.hpp"
#include "agent/log.hpp"
#include "tests/unit/fakes.hpp"

namespace lastcall {

/// An agent in virtual time, asked without a socket. Its processes leave 1 s after SIGTERM; a task
/// with a load balancer is drained for 20 s.
struct Api {
    Sim sim;
    FakeLog log;
    std::unique_ptr<Journal> journal = memory_journal();
    FakeLauncher launcher{sim};
    std::shared_ptr<FakeLoadBalancer> load_balancer = std::make_shared<FakeLoadBalancer>(sim);
    Role role{.mode = Role::Mode::serve};
    Configuration configuration = configure(role, {}, {});
    int ids = 0;
    Supervisor supervisor;
    api::Context context;

    Api()
        : supervisor(surroundings()),
          context{.supervisor = supervisor,
                  .journal = *journal,
                  .configuration = configuration,
                  .define = task_definer(configuration.settings, role),
                  .mode = "serve"} {
        launcher.prepare = [](FakeProcess& process) { process.exits_on[SIGTERM] = 1s; };
    }
    ~Api() { sim.run(supervisor.shut_down({})); }

    api::Response ask(const std::string& method, const std::string& target,
                      const std::string& body = "") {
        api::Request request;
        request.method = method;
        const auto mark = target.find('?');
        request.path = target.substr(0, mark);
        request.query = mark == target.npos ? "" : target.substr(mark + 1);
        request.body = body;
        request.peer = {.uid = 1000, .pid = 4711};
        return sim.run(api::answer(context, std::move(request)));
    }
    /// The shape in the answer, which must have this status.
    template <class Shape>
    Shape shape(unsigned status, const api::Response& response) {
        CHECK_MESSAGE(response.status == status, response.body);
        return api::from_json<Shape>(api::parse(response.body));
    }
    /// "404 there is no task 'web'"
    std::string trouble(const std::string& method, const std::string& target,
                        const std::string& body = "") {
        const auto response = ask(method, target, body);
        if (response.status < 300) return "none";
        CHECK(response.content_type == "application/problem+json");
        const auto problem = api::from_json<api::Problem>(api::parse(response.body));
        CHECK(problem.status == response.status);
        return std::to_string(response.status) + " " + problem.detail;
    }
    api::Task start(const std::string& more = "", const std::string& name = "web") {
        return shape<api::Task>(
            201, ask("POST", "/v1/tasks",
                     R"({"name":")" + name + R"(","command":["nginx","-g"])" + more + "}"));
    }
    Clock::duration now() const { return sim.clock.now().time_since_epoch(); }
    void wait_until(Clock::duration time) {
        sim.run(sim.clock.sleep_until(Clock::time_point(time)));
    }

 private:
    Surroundings surroundings() {
        return {.executor = sim.executor(),
                .clock = sim.clock,
                .journal = *journal,
                .log = log,
                .launcher = launcher,
                .memberships = [this](const TaskDefinition& task) { return memberships(task); },
                .evidence =
                    [this](const TaskDefinition&, std::vector<Process*>) {
                        auto evidence = std::make_unique<FakeEvidence>(sim);
                        evidence->visits = {{.to = 20s}, {.to = 20s}};
                        return evidence;
                    },
                .new_id = [this] { return std::string(31, '0') + static_cast<char>('a' + ids++); }};
    }
    std::vector<Membership> memberships(const TaskDefinition& task) {
        std::vector<Membership> places;
        for (const std::string& url : task.load_balancers) {
            if (!url.starts_with("fake:"))
                throw BadRequest("cannot use '" + url + "': unknown scheme");
            places.push_back({.url = url,
                              .load_balancer = load_balancer,
                              .target = "web/web1",
                              .knows = true,
                              .settle = 0s});
        }
        return places;
    }
};

}  // namespace lastcall
