#pragma once
#include <string>

#include "agent/helpers/aws/http.hpp"

namespace lastcall::aws {

/// Who signs what: AWS Signature Version 4.
struct Signer {
    std::string access_key;
    std::string secret;
    std::string region;
    std::string service;  ///< "elasticloadbalancing", "autoscaling"
};

/// Adds Host, X-Amz-Date and Authorization: every header that the request then has is signed.
///
/// Ours, although libcurl can sign: 7.88, when it is given the date, sends X-Amz-Date twice, and
/// with a wrong clock only the server's date is believed. For what is sent here: a path without
/// anything to escape, and no query. (docs.aws.amazon.com, "Create a signed AWS API request".)
void sign(HttpRequest& request, const Signer& signer, Clock::utc_time at);

}  // namespace lastcall::aws
