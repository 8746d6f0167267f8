#include <doctest/doctest.h>

#include "supervisor/kinship.hpp"

using namespace lastcall;
using namespace std::literals;

namespace {

using Marks = std::vector<std::string>;

/// Two tasks, since the times 100 and 200.
struct TwoTasks {
    Kinship kinship;
    int environments_read = 0;

    TwoTasks() {
        kinship.begins("aaaa", 100);
        kinship.begins("bbbb", 200);
    }
    Orphan orphan(pid_t pid, std::uint64_t start, std::string environment = "") {
        return {.pid = pid,
                .identity = start * 1000 + static_cast<std::uint64_t>(pid),
                .start = [start] { return start; },
                .environment =
                    [this, environment] {
                        ++environments_read;
                        return environment;
                    }};
    }
    std::optional<std::string> task_of(const Orphan& orphan) { return kinship.task_of(orphan); }
};

}  // namespace

TEST_CASE_FIXTURE(TwoTasks, "the mark in its environment tells an orphan's task") {
    const auto first = "LASTCALL_TASK=bbbb\0HOME=/\0"s;
    const auto last = "HOME=/\0PATH=/bin\0LASTCALL_TASK=bbbb\0"s;
    const auto cut = "HOME=/\0LASTCALL_TASK=bbbb"s;
    for (const auto& environment : {first, last, cut})
        CHECK(task_of(orphan(7, 300, environment)) == "bbbb");
}

TEST_CASE_FIXTURE(TwoTasks, "a variable that only looks like the mark tells nothing") {
    for (const auto& environment :
         {"MY_LASTCALL_TASK=bbbb\0"s, "X=LASTCALL_TASK=bbbb\0"s, "LASTCALL_TASKS=bbbb\0"s,
          "LASTCALL_TASK"s, "LASTCALL_TASK=\0"s, "\0\0\0"s})
        CHECK_FALSE(task_of(orphan(7, 300, environment)));
}

TEST_CASE_FIXTURE(TwoTasks, "a hook's orphan is its task's") {
    CHECK(task_of(orphan(7, 300, "LASTCALL_TASK=aaaa-pre-stop\0"s)) == "aaaa");
}

TEST_CASE_FIXTURE(TwoTasks, "the mark of an agent within a task tells nothing") {
    const auto nested = orphan(7, 300, "LASTCALL_TASK=cccc\0"s);
    CHECK_FALSE(task_of(nested));
    kinship.remember(7, nested.identity, "aaaa");
    CHECK(task_of(nested) == "aaaa");
}

TEST_CASE_FIXTURE(TwoTasks, "one that was seen below its task is known without its environment") {
    const auto seen = orphan(7, 300);
    kinship.remember(7, seen.identity, "aaaa");
    CHECK(task_of(seen) == "aaaa");
    CHECK(kinship.knows(7, "aaaa"));
    CHECK_FALSE(kinship.knows(7, "bbbb"));
    CHECK(environments_read == 0);
    SUBCASE("another process with its number isn't") {
        CHECK_FALSE(task_of(orphan(7, 301)));
        CHECK(task_of(orphan(7, 301, "LASTCALL_TASK=bbbb\0"s)) == "bbbb");
    }
    SUBCASE("until its task has ended") {
        kinship.ends("aaaa");
        CHECK_FALSE(kinship.knows(7, "aaaa"));
        CHECK(task_of(seen) == "bbbb");
    }
}

TEST_CASE_FIXTURE(TwoTasks, "one that only one task can have made is that one's") {
    CHECK(task_of(orphan(7, 150)) == "aaaa");
    CHECK(kinship.suspects(150) == Marks{"aaaa"});
    CHECK_FALSE(task_of(orphan(7, 200)));
    CHECK(kinship.suspects(200) == Marks{"aaaa", "bbbb"});
    CHECK_FALSE(task_of(orphan(7, 99)));
    CHECK(kinship.suspects(99).empty());
}

TEST_CASE_FIXTURE(TwoTasks, "one that two can have made stays nobody's when one of them ends") {
    const auto stray = orphan(7, 300), later = orphan(8, 301);
    kinship.doubt({{7, stray.identity}});
    kinship.ends("aaaa");
    CHECK(kinship.is_doubtful(stray));
    CHECK_FALSE(task_of(stray));
    CHECK(kinship.suspects(300) == Marks{"bbbb"});
    CHECK(task_of(later) == "bbbb");
    SUBCASE("another process with its number is not in doubt") {
        CHECK(task_of(orphan(7, 302)) == "bbbb");
    }
    SUBCASE("the doubtful are as told last") {
        kinship.doubt({});
        CHECK(task_of(stray) == "bbbb");
    }
}

TEST_CASE_FIXTURE(TwoTasks, "with one task left nobody's environment has to be read") {
    kinship.ends("aaaa");
    CHECK(task_of(orphan(7, 300)) == "bbbb");
    CHECK_FALSE(task_of(orphan(7, 150)));
    CHECK(environments_read == 0);
}

TEST_CASE("without a task there is no suspect") {
    Kinship kinship;
    kinship.ends("never began");
    CHECK(kinship.suspects(1).empty());
    CHECK_FALSE(kinship.task_of(
        {.pid = 7, .identity = 1, .start = [] { return 1; }, .environment = [] { return ""s; }}));
}
