#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

// A request's target (RFC 3986): the path and the query, understood. Both throw BadRequest.
namespace lastcall::api {

/// The segments of "/v1/tasks/web%31" after the first slash, percent-decoded: v1, tasks, web1.
std::vector<std::string> segments_of(std::string_view path);

/// "wait=false&limit=5", percent-decoded ("+" is a plus). No name may come twice.
std::map<std::string, std::string, std::less<>> parameters_of(std::string_view query);

}  // namespace lastcall::api
