#include "agent/disk.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <string>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr int owner = 0, other = 0;
constexpr auto nothing_more = [](auto work) {
    return [work]() -> std::optional<Disk::Duration> {
        work();
        return std::nullopt;
    };
};

}  // namespace

TEST_CASE("what is urgent goes before the next step of what has time") {
    std::string order;
    std::promise<void> ready, over;
    auto go = ready.get_future();
    Disk disk;  // the last one made: its thread ends before what it works with
    disk.spare([&order, &go, &over, step = 0]() mutable {
        if (step == 0) go.wait();
        order += std::to_string(step);
        if (++step < 3) return true;
        over.set_value();
        return false;
    });
    disk.urgent(&owner, nothing_more([&order] { order += "a"; }));
    disk.urgent(&other, nothing_more([&order] { order += "b"; }));
    ready.set_value();
    over.get_future().wait();
    // The urgent ones may have come before the thread began.
    CHECK((order == "0ab12" || order == "ab012" || order == "a0b12"));
}

TEST_CASE("work is done again when it wants to be, or when somebody asks") {
    std::promise<void> thrice;
    int times = 0;
    Disk disk;
    const auto work = [&times, &thrice]() -> std::optional<Disk::Duration> {
        if (++times == 3) thrice.set_value();
        if (times == 1) return 1ms;
        if (times == 2) return 1h;
        return std::nullopt;
    };
    disk.urgent(&owner, work);
    while (!disk.finish(1ms)) {
    }
    const auto done = thrice.get_future();
    CHECK(done.wait_for(50ms) == std::future_status::timeout);
    disk.urgent(&owner, work);
    CHECK(done.wait_for(10s) == std::future_status::ready);
}

TEST_CASE("the end of the disk does what is urgent, and drops what has time") {
    std::atomic<int> urgent = 0;
    const auto begin = std::chrono::steady_clock::now();
    {
        Disk disk;
        disk.spare([] { return true; });
        for (int i = 0; i < 100; ++i) {
            disk.urgent(&owner, nothing_more([&urgent] { ++urgent; }));
        }
    }
    CHECK(urgent == 100);
    // What never ends was dropped: it would have held up the end for two seconds.
    CHECK(std::chrono::steady_clock::now() - begin < 2s);
}

TEST_CASE("a disk that hangs holds up its end for two seconds only") {
    // Outlives this test with the thread that stays behind.
    const auto gate = std::make_shared<std::promise<void>>();
    const auto opened = std::make_shared<std::shared_future<void>>(gate->get_future());
    const auto passed = std::make_shared<std::promise<void>>();
    const auto begin = std::chrono::steady_clock::now();
    {
        Disk disk;
        disk.urgent(&owner, nothing_more([opened, passed] {
            opened->wait();
            passed->set_value();
        }));
        CHECK_FALSE(disk.finish(10ms));
    }
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took >= 2s);
    CHECK(took < 4s);
    gate->set_value();
    CHECK(passed->get_future().wait_for(10s) == std::future_status::ready);
}

}  // namespace lastcall
