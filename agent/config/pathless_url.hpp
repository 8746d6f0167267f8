#pragma once
#include <string>

namespace lastcall {

/// A URL as Boost.URL 1.81 can be trusted with: where there is no path at all ("elbv2:?a=b") it
/// reads a length that it never set, so such a URL gets the path "/".
std::string with_path(std::string url);

}  // namespace lastcall
