#include "agent/helpers/aws/service.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/failure.hpp"
#include "agent/helpers/aws/web_url.hpp"

namespace lastcall::aws {
namespace {

struct Partition {
    std::string_view regions, domain;
};

// As in AWS's partitions.json.
constexpr std::array partitions = {
    Partition{"cn-", "amazonaws.com.cn"},    Partition{"us-isob-", "sc2s.sgov.gov"},
    Partition{"us-isof-", "csp.hci.ic.gov"}, Partition{"us-iso-", "c2s.ic.gov"},
    Partition{"eu-isoe-", "cloud.adc-e.uk"}, Partition{"eusc-", "amazonaws.eu"},
};

std::string domain_of(const std::string& region) {
    for (const auto& each : partitions) {
        if (region.starts_with(each.regions)) return std::string(each.domain);
    }
    return "amazonaws.com";
}

std::string checked(std::string url, const std::string& from) {
    const auto parsed = parse_web_url(url);
    if (!parsed || parsed->query) {
        throw Failure(fmt::format("{} is {}, expected http://… or https://…", from, quoted(url)),
                      false);
    }
    if (!url.ends_with('/')) url += '/';
    return url;
}

}  // namespace

std::string endpoint(const Service& service, const std::string& region, const Surroundings& around,
                     const Profile& profile) {
    if (around.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").value_or("") != "true") {
        std::string own = "AWS_ENDPOINT_URL_";
        for (const char* c = service.config; *c != '\0'; ++c) {
            own += *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 'a' + 'A') : *c;
        }
        for (const std::string& name : {own, std::string("AWS_ENDPOINT_URL")}) {
            const auto url = around.variable(name);
            if (url) return checked(*url, name);
        }
        const auto url = profile.endpoint(service.config);
        if (url) return checked(*url, "endpoint_url of " + profile.name());
    }
    return fmt::format("https://{}.{}.{}/", service.name, region, domain_of(region));
}

bool is_region(const std::string& name) {
    return !name.empty() && name.size() <= 40 &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
}

}  // namespace lastcall::aws
