#include "agent/helpers/aws/server_time.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

namespace lastcall::aws {

bool ServerTime::correct(const std::string& date) {
    constexpr time_t year_2000 = 946684800, year_2200 = 7258118400;
    const time_t read = date.empty() ? -1 : ::curl_getdate(date.c_str(), nullptr);
    if (read < year_2000 || read >= year_2200) return false;
    const Clock::utc_time theirs{std::chrono::seconds(read)};
    const auto wrong = std::chrono::round<std::chrono::seconds>(theirs - now());
    if (std::chrono::abs(wrong) <= 60s) return false;
    ahead_ += wrong;
    if (!said_) {
        say_(fmt::format("This machine's clock is {} s {} AWS's: AWS's date is used.",
                         std::chrono::abs(ahead_).count(), ahead_ > 0s ? "behind" : "ahead of"));
    }
    said_ = true;
    return true;
}

}  // namespace lastcall::aws
