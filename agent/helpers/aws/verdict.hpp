#pragma once
#include <string>

#include "agent/helpers/aws/http.hpp"

namespace lastcall::aws {

/// What may mend a call that failed.
enum class Remedy {
    none_needed,
    nothing,          ///< the same call fails again
    waiting,          ///< throttled, or AWS is unwell
    new_credentials,  ///< these have expired, or aren't known
    right_date,       ///< or it is the signature, or the secret
};

struct Verdict {
    Remedy remedy = Remedy::none_needed;
    std::string code;   ///< AWS's
    std::string cause;  ///< for people, on one line
};

/// Judges a response of the Query API by status and document.
Verdict judge(const HttpResponse& response);

}  // namespace lastcall::aws
