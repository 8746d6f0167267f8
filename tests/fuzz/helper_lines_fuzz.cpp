#include <string_view>

#include "agent/lb/helper_lines.hpp"

// Whatever a helper writes is either understood or refused, wherever the stream is cut.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    using namespace lastcall::helper;
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    const std::size_t cut = text.empty() ? 0 : data[0] % text.size();
    const auto refused = [](auto read) {
        try {
            read();
        } catch (const BadLine& error) {
            if (std::string_view(error.what()).size() > 2000) __builtin_trap();
        }
    };
    refused([&] {
        Lines stream;
        for (const auto part : {text.substr(0, cut), text.substr(cut)}) {
            stream.add(part);
            while (const auto line = stream.next()) {
                refused([&] { read_greeting(*line); });
                refused([&] {
                    for (const auto& answer : read_answers(*line)) ends(answer);
                });
            }
        }
    });
    if (one_line(text).find('\n') != std::string::npos) __builtin_trap();
    return 0;
}
