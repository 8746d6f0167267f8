#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/helpers/aws/api.hpp"
#include "agent/helpers/aws/balancer.hpp"
#include "agent/helpers/aws/lookout.hpp"
#include "agent/helpers/aws/reply.hpp"
#include "agent/helpers/aws/together.hpp"

namespace lastcall::aws {

/// How a classic load balancer drains; nullopt of `draining`: AWS wouldn't tell, see `warning`.
struct ClassicFacts {
    std::optional<DrainingReply> draining;
    std::string warning;
};

/// One classic load balancer, for all its instances.
class ClassicBalancer {
 public:
    /// `gate` must be closed before this is gone.
    ClassicBalancer(Gate& gate, Clock& clock, asio::any_io_executor executor, Api& api,
                    std::string name);

    // All throw Failure.
    /// Asked for again after a minute.
    awaitable<ClassicFacts> facts(Note note);
    awaitable<void> join(std::string instance, Note note);
    awaitable<void> leave(std::string instance, Note note);
    awaitable<void> until_gone(std::string instance, Note note);

 private:
    using Instances = std::vector<std::string>;
    awaitable<std::string> call(Query query, Note note, Clock::duration at_most = 10min);
    Query query(const std::string& action, const Instances& instances) const;
    awaitable<bool> change(std::string action, Instances instances, Note note);
    awaitable<void> change_some(std::string action, Instances instances, Note note);
    awaitable<ClassicFacts> ask_facts(Note note);
    awaitable<std::set<std::string>> look(Instances watched, Note note);
    awaitable<void> look_at(Instances some, std::set<std::string>& gone, Note note);

    Clock& clock_;
    Api& api_;
    std::string name_;
    std::optional<ClassicFacts> facts_;
    Clock::time_point facts_until_;
    Together<int, ClassicFacts> asking_;
    Together<std::string, bool> joining_;
    Together<std::string, bool> leaving_;
    Lookout<std::string> lookout_;
};

}  // namespace lastcall::aws
