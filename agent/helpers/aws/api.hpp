#pragma once
#include <functional>
#include <map>
#include <string>

#include "agent/helpers/aws/credentials.hpp"
#include "agent/helpers/aws/query.hpp"
#include "agent/helpers/aws/service.hpp"

namespace lastcall::aws {

/// AWS's Query API: signs, and tries again where that may help. Throttling, 5xx and lost
/// connections are waited out with a jittered backoff (0.2 s, doubled up to 5 s), credentials that
/// have expired are renewed once, a wrong clock is put right once.
class Api {
 public:
    /// `jitter`: random numbers in [0, 1).
    Api(Http& http, Clock& clock, ServerTime& time, CredentialChain& credentials,
        InstanceMetadata& instance, const Surroundings& around, std::function<double()> jitter);

    /// The body of the answer, which may still be anything. Each time that it has to wait it notes
    /// why. Throws Failure; what a retry may mend, 10 minutes or `deadline` after it was asked for.
    awaitable<std::string> call(Service service, std::string region, Query query,
                                Clock::time_point deadline, Note note);

    /// Where we are: AWS_REGION, AWS_DEFAULT_REGION, the profile's, the ECS task's, the instance's.
    /// Throws Failure which names them all.
    awaitable<std::string> region();

    /// A random number in [0, 1).
    double jitter() const { return jitter_(); }

 private:
    awaitable<HttpResponse> post(HttpRequest request, std::string& cause, bool& retry);
    awaitable<std::string> region_of_machine(std::string looked);

    Http& http_;
    Clock& clock_;
    ServerTime& time_;
    CredentialChain& credentials_;
    InstanceMetadata& instance_;
    const Surroundings& around_;
    std::function<double()> jitter_;
    std::string region_;
};

}  // namespace lastcall::aws
