#include "agent/helpers/aws/verdict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/reply.hpp"

namespace lastcall::aws {
namespace {

struct Known {
    std::string_view code;
    Remedy remedy;
};

// As AWS's SDKs sort them; what isn't here is judged by its status.
constexpr std::array known = {
    Known{"Throttling", Remedy::waiting},
    Known{"ThrottlingException", Remedy::waiting},
    Known{"ThrottledException", Remedy::waiting},
    Known{"RequestThrottled", Remedy::waiting},
    Known{"RequestThrottledException", Remedy::waiting},
    Known{"RequestLimitExceeded", Remedy::waiting},
    Known{"TooManyRequestsException", Remedy::waiting},
    Known{"BandwidthLimitExceeded", Remedy::waiting},
    Known{"SlowDown", Remedy::waiting},
    Known{"PriorRequestNotComplete", Remedy::waiting},
    Known{"RequestTimeout", Remedy::waiting},
    Known{"ExpiredToken", Remedy::new_credentials},
    Known{"ExpiredTokenException", Remedy::new_credentials},
    Known{"InvalidClientTokenId", Remedy::new_credentials},
    Known{"UnrecognizedClientException", Remedy::new_credentials},
    Known{"SignatureDoesNotMatch", Remedy::right_date},
    Known{"InvalidSignatureException", Remedy::right_date},
    Known{"RequestTimeTooSkewed", Remedy::right_date},
    Known{"RequestExpired", Remedy::right_date},
};

Remedy remedy_for(const std::string& code, unsigned status) {
    const auto* const found = std::find_if(known.begin(), known.end(),
                                           [&](const Known& each) { return each.code == code; });
    if (found != known.end()) return found->remedy;
    return status >= 500 || status == 429 ? Remedy::waiting : Remedy::nothing;
}

}  // namespace

Verdict judge(const HttpResponse& response) {
    const unsigned status = response.status;
    if (status >= 300 && status < 400) {
        return {Remedy::nothing, "Redirect",
                fmt::format("it redirects to {} ({}), which isn't followed",
                            quoted(response.location), status)};
    }
    const auto error = error_reply(response.body);
    if (error) {
        // A wrong signature is answered with all that was signed, the session's token among it.
        const auto end = error->message.find_first_of("\r\n");
        const std::string first = error->message.substr(0, end);
        return {remedy_for(error->code, status), excerpt(error->code),
                fmt::format("{}: {}", excerpt(error->code), excerpt(first, 300))};
    }
    if (status >= 200 && status < 300) return {};
    return {remedy_for("", status), fmt::format("{}", status),
            fmt::format("status {}: {}", status, quoted(response.body))};
}

}  // namespace lastcall::aws
