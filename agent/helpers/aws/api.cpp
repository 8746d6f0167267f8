#include "agent/helpers/aws/api.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "agent/helpers/aws/container.hpp"
#include "agent/helpers/aws/excerpt.hpp"
#include "agent/helpers/aws/signature.hpp"
#include "agent/helpers/aws/verdict.hpp"
#include "supervisor/await.hpp"

namespace lastcall::aws {
namespace {

constexpr auto longest_call = 10min;
constexpr Clock::duration first_wait = 200ms, longest_wait = 5s;

/// One call with what it may still try.
struct Attempts {
    Clock::duration wait = first_wait;
    bool renewed = false;
    bool corrected = false;
};

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

HttpRequest form(const std::string& url, const Query& query, const Credentials& credentials) {
    HttpRequest request{.method = "POST", .url = url, .body = query.body()};
    request.headers = {"Content-Type: application/x-www-form-urlencoded; charset=utf-8"};
    if (!credentials.token.empty()) {
        request.headers.push_back("X-Amz-Security-Token: " + credentials.token);
    }
    return request;
}

/// Failures of the files are the user's to mend.
Profile profile_of(const Surroundings& around) {
    try {
        return Profile(around);
    } catch (const std::runtime_error& error) {
        throw Failure(error.what(), false);
    }
}

}  // namespace

Api::Api(Http& http, Clock& clock, ServerTime& time, CredentialChain& credentials,
         InstanceMetadata& instance, const Surroundings& around, std::function<double()> jitter)
    : http_(http),
      clock_(clock),
      time_(time),
      credentials_(credentials),
      instance_(instance),
      around_(around),
      jitter_(std::move(jitter)) {}

awaitable<std::string> Api::call(Service service, std::string region, Query query,
                                 Clock::time_point deadline, Note note) {
    deadline = std::min(deadline, after(clock_.now(), longest_call));
    const std::string url = endpoint(service, region, around_, profile_of(around_));
    Attempts attempts;
    for (;;) {
        auto getting = credentials_.get(note);
        const Credentials credentials = co_await std::move(getting);
        HttpRequest request = form(url, query, credentials);
        const auto date = time_.now();
        sign(request, {credentials.access_key, credentials.secret, region, service.name}, date);
        Verdict verdict{.remedy = Remedy::waiting};
        bool may_retry = true;
        auto posting = post(std::move(request), verdict.cause, may_retry);
        HttpResponse response = co_await std::move(posting);
        if (verdict.cause.empty()) verdict = judge(response);
        if (verdict.remedy == Remedy::none_needed) co_return std::move(response.body);

        const std::string cause = fmt::format("{} at {}: {}", query.action(),
                                              url.substr(0, url.find('/', url.find("://") + 3)),
                                              without_secrets(verdict.cause, credentials));
        if (verdict.remedy == Remedy::new_credentials && !attempts.renewed) {
            attempts.renewed = true;
            credentials_.distrust(credentials);
            auto again = credentials_.get(note);
            const Credentials renewed = co_await std::move(again);
            if (!(renewed == credentials)) continue;
        }
        if (verdict.remedy == Remedy::right_date && !attempts.corrected) {
            attempts.corrected = true;
            // Another call may have heard of it meanwhile.
            const bool corrected = std::chrono::abs(time_.now() - date) > 60s;
            if (time_.correct(response.date) || corrected) continue;
        }
        if (verdict.remedy != Remedy::waiting || !may_retry)
            throw Failure(cause, false, verdict.code);
        const auto wait = std::chrono::duration_cast<Clock::duration>(
            attempts.wait / 2 + attempts.wait / 2 * jitter_());
        attempts.wait = std::min(attempts.wait * 2, longest_wait);
        const auto next = after(clock_.now(), wait);
        if (next >= deadline) throw Failure(cause, true, verdict.code);
        note(fmt::format("{}; again in {:.1f} s", cause, seconds(wait)));
        auto sleeping = clock_.sleep_until(next);
        co_await std::move(sleeping);
    }
}

/// Whatever comes. Nothing came: `cause` says why, and `retry` whether it may come later.
awaitable<HttpResponse> Api::post(HttpRequest request, std::string& cause, bool& retry) {
    try {
        auto sending = http_.send(std::move(request));
        co_return co_await std::move(sending);
    } catch (const HttpError& error) {  // it is judged like a refusal
        cause = error.what();
        retry = error.retry();
    }
    co_return HttpResponse();
}

awaitable<std::string> Api::region() {
    if (!region_.empty()) co_return region_;
    const Profile profile = profile_of(around_);
    for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
        if (region_.empty()) region_ = around_.variable(name).value_or("");
    }
    if (region_.empty()) region_ = profile.value("region").value_or("");
    if (region_.empty()) {
        auto asking = region_of_machine(profile.name());
        region_ = co_await std::move(asking);
    }
    if (is_region(region_)) co_return region_;
    const std::string wrong = std::exchange(region_, "");
    throw Failure(fmt::format("the region is {}, expected one like eu-west-1", quoted(wrong)),
                  false);
}

awaitable<std::string> Api::region_of_machine(std::string looked) {
    std::string cause = "the instance's metadata has none";
    bool retry = false;
    try {
        auto asking = task_metadata(http_, around_);
        const auto task = co_await std::move(asking);
        if (task && !task->region.empty()) co_return task->region;
        auto getting = instance_.get("placement/region");
        const auto region = co_await std::move(getting);
        if (region) co_return *region;
    } catch (const Failure& failure) {  // here it gets its name for people
        cause = failure.what();
        retry = failure.retry();
    }
    throw Failure(
        fmt::format("there is no region: AWS_REGION and AWS_DEFAULT_REGION aren't set; {} has "
                    "no region; {}",
                    looked, cause),
        retry);
}

}  // namespace lastcall::aws
