#include "agent/helpers/aws/signature.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <string_view>

#include "agent/utc.hpp"

namespace lastcall::aws {
namespace {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";

std::string hex(std::string_view bytes) {
    std::string result;
    for (const char each : bytes) {
        result += fmt::format("{:02x}", static_cast<unsigned char>(each));
    }
    return result;
}

std::string digest(std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
    unsigned size = 0;
    if (EVP_Digest(text.data(), text.size(), out.data(), &size, EVP_sha256(), nullptr) != 1) {
        throw std::runtime_error("cannot sign: OpenSSL has no SHA-256");
    }
    return {reinterpret_cast<const char*>(out.data()), size};
}

std::string hmac(std::string_view key, std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
    unsigned size = 0;
    const auto* const data = reinterpret_cast<const unsigned char*>(text.data());
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data, text.size(), out.data(),
             &size) == nullptr) {
        throw std::runtime_error("cannot sign: OpenSSL has no HMAC");
    }
    return {reinterpret_cast<const char*>(out.data()), size};
}

/// "20150830T123600Z"
std::string compact(Clock::utc_time at) {
    std::string text = utc_seconds_text(at);
    std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
    return text;
}

/// Host and path as libcurl will send them.
struct Address {
    std::string host, path;
};

Address address_of(const std::string& url) {
    const auto begin = url.find("://");
    std::string rest = begin == std::string::npos ? url : url.substr(begin + 3);
    const auto slash = rest.find('/');
    if (slash == std::string::npos) return {rest, "/"};
    return {rest.substr(0, slash), rest.substr(slash)};
}

/// Names in lower case and in order, values without the white space around them and with single
/// spaces inside.
std::map<std::string, std::string> canonical(const std::vector<std::string>& headers) {
    std::map<std::string, std::string> result;
    for (const auto& each : headers) {
        const auto colon = each.find(':');
        std::string name = each.substr(0, colon);
        std::transform(name.begin(), name.end(), name.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
        });
        std::string value;
        for (const char c : each.substr(colon + 1)) {
            const bool space = c == ' ' || c == '\t';
            if (!space) value += c;
            if (space && !value.empty() && value.back() != ' ') value += ' ';
        }
        if (!value.empty() && value.back() == ' ') value.pop_back();
        auto& place = result[name];
        place += (place.empty() ? "" : ",") + value;
    }
    return result;
}

}  // namespace

void sign(HttpRequest& request, const Signer& signer, Clock::utc_time at) {
    const std::string moment = compact(at);
    const std::string day = moment.substr(0, 8);
    const Address address = address_of(request.url);
    request.headers.push_back("Host: " + address.host);
    request.headers.push_back("X-Amz-Date: " + moment);

    std::string lines, names;
    for (const auto& [name, value] : canonical(request.headers)) {
        lines += fmt::format("{}:{}\n", name, value);
        names += (names.empty() ? "" : ";") + name;
    }
    const std::string whole = fmt::format("{}\n{}\n\n{}\n{}\n{}", request.method, address.path,
                                          lines, names, hex(digest(request.body)));
    const std::string scope =
        fmt::format("{}/{}/{}/aws4_request", day, signer.region, signer.service);
    const std::string to_sign =
        fmt::format("{}\n{}\n{}\n{}", algorithm, moment, scope, hex(digest(whole)));

    std::string key = "AWS4" + signer.secret;
    for (const std::string& step :
         {day, signer.region, signer.service, std::string("aws4_request")}) {
        key = hmac(key, step);
    }
    request.headers.push_back(
        fmt::format("Authorization: {} Credential={}/{}, SignedHeaders={}, Signature={}", algorithm,
                    signer.access_key, scope, names, hex(hmac(key, to_sign))));
}

}  // namespace lastcall::aws
