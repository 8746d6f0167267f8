#include <cstdlib>
#include <string>
#include <string_view>

#include "agent/helpers/aws/container.hpp"
#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/failure.hpp"
#include "agent/helpers/aws/notices.hpp"
#include "agent/helpers/aws/profile.hpp"
#include "agent/helpers/aws/reply.hpp"
#include "agent/helpers/aws/request.hpp"
#include "agent/helpers/aws/target_url.hpp"
#include "agent/helpers/aws/verdict.hpp"
#include "agent/helpers/aws/web_url.hpp"

namespace {

using namespace lastcall::aws;

/// What is thrown is one line of text.
void one_line(std::string_view text) {
    for (const char each : text) {
        if (static_cast<unsigned char>(each) < 0x20) std::abort();
    }
}

template <class Parse>
void refused(Parse parse) {
    try {
        parse();
    } catch (const std::runtime_error& error) {
        one_line(error.what());
    }
}

/// As every service might answer with it.
void read_xml(std::string_view body) {
    refused([&] { read_empty(body, "DeregisterTargets"); });
    refused([&] { read_target_group(body); });
    refused([&] { read_deregistration_delay(body); });
    refused([&] {
        for (const auto& each : read_target_health(body)) {
            if (each.id.empty() || each.state.empty()) std::abort();
        }
    });
    refused([&] { read_draining(body); });
    refused([&] {
        for (const auto& each : read_instance_health(body)) {
            if (each.id.empty() || each.state.empty()) std::abort();
        }
    });
    refused([&] { read_heartbeat_timeout(body, "hook"); });
    for (const unsigned status : {200U, 302U, 503U}) {
        const Verdict verdict = judge({.status = status, .body = std::string(body)});
        one_line(verdict.cause);
        if (status != 200 && verdict.remedy == Remedy::none_needed) std::abort();
    }
}

void read_json(std::string_view body) {
    refused([&] { parse_credentials(body, "these"); });
    refused([&] { parse_task_metadata(body); });
    parse_spot_action(body);
    const Heard heard = parse_requests(body);
    for (const auto& each : heard.requests) {
        refused([&] { parse_target_url(each.url); });
    }
    for (const auto& each : heard.rest) one_line(each.why);
}

}  // namespace

// Whatever AWS, the metadata or the agent says is understood or refused, on one line.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    // What can't be a document is refused in no time by whoever wants one: not worth a fuzzer's.
    const char first = text.empty() ? ' ' : text.front();
    if (first == '<') {
        read_xml(text);
    } else if (first == '{' || (first == '[' && text.size() > 1 && text[1] == '{')) {
        read_json(text);
    } else {
        refused([&] { parse_target_url(std::string(text)); });
        parse_web_url(std::string(text));
        refused([&] { parse_sections(text, "file"); });
        one_line(excerpt(text, 50));
    }
    return 0;
}
