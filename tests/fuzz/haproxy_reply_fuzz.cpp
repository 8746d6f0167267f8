#include <string_view>

#include "agent/lb/haproxy_reply.hpp"

// Whatever a socket answers, HAProxy's parsers either understand or refuse it.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    using namespace lastcall;
    const std::string_view reply(reinterpret_cast<const char*>(data), size);
    const auto refused = [](auto parse) {
        try {
            parse();
        } catch (const HaproxyError&) {
        }
    };
    for (std::size_t count = 1; count <= 3; ++count) {
        refused([&] {
            for (const auto answer : split_replies(reply, count)) {
                refused([&] { expect_success(answer); });
                refused([&] { server_state(answer, "be", "s1"); });
                refused([&] { server_load(answer, "be", "s1"); });
                refused([&] { process_info(answer); });
            }
        });
    }
    return 0;
}
