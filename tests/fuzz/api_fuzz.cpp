#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "agent/api/target.hpp"
#include "agent/api/types.hpp"
#include "agent/api/wire.hpp"
#include "supervisor/supervisor.hpp"

namespace {

using namespace lastcall;

template <class Parse>
void refused(Parse parse) {
    try {
        parse();
    } catch (const BadRequest&) {
    } catch (const api::Malformed&) {
    }
}

template <class Shape>
void decode(std::string_view text) {
    refused([text] {
        const auto shape = api::from_json<Shape>(api::parse(text));
        const auto said = api::to_text(api::to_json(shape));
        const auto again = api::from_json<Shape>(api::parse(said));
        if (api::to_text(api::to_json(again)) != said) std::abort();
    });
}

/// All the requests in `bytes`, which arrive in pieces of that size.
void read_requests(std::string_view bytes, std::size_t piece) {
    api::RequestReader reader(1024, 4096);
    while (!bytes.empty()) {
        const std::size_t size = std::min(piece, bytes.size());
        reader.add(bytes.substr(0, size));
        bytes.remove_prefix(size);
        while (auto incoming = reader.next()) {
            if (incoming->refusal) return;
            if (incoming->request.body.size() > 4096) std::abort();
            refused([&] { api::segments_of(incoming->request.path); });
            refused([&] { api::parameters_of(incoming->request.query); });
        }
        reader.wants_continue();
    }
}

}  // namespace

// Whatever comes over the control socket is understood or refused, and what was understood says the
// same again.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 8) {
        case 0:
            decode<api::RunRequest>(text);
            break;
        case 1:
            decode<api::StopRequest>(text);
            break;
        case 2:
            decode<api::Task>(text);
            break;
        case 3:
            decode<api::Problem>(text);
            break;
        default:
            read_requests(text, 1 + data[0] / 8);
    }
    return 0;
}
