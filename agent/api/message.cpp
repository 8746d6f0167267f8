#include "agent/api/message.hpp"

#include "agent/api/types.hpp"

namespace lastcall::api {
namespace {

struct Reason {
    unsigned status;
    std::string_view text;
};
constexpr Reason reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {422, "Unprocessable Content"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

}  // namespace

std::string_view reason_of(unsigned status) {
    for (const Reason& each : reasons) {
        if (each.status == status) return each.text;
    }
    return "Unknown";
}

Response problem(unsigned status, std::string detail) {
    Problem shape;
    shape.title = reason_of(status);
    shape.status = status;
    shape.detail = std::move(detail);
    Response response;
    response.status = status;
    response.content_type = "application/problem+json";
    response.body = to_text(to_json(shape));
    return response;
}

}  // namespace lastcall::api
