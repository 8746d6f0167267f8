#include "agent/log_copy.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "temporary_directory.hpp"

namespace lastcall {
namespace {

struct Cutting {
    TemporaryDirectory directory;
    std::vector<std::string> complaints;

    LogCopies copies(std::uint64_t cap = 10) {
        return {directory.path(), cap, [this](const std::string& path, const std::string& why) {
                    complaints.push_back(path.substr(directory.path().size() + 1) + ": " + why);
                }};
    }
    void write(const std::string& name, const std::string& text) {
        std::ofstream(directory / name, std::ios::app) << text;
    }
    std::string read(const std::string& name) {
        std::ifstream file(directory / name);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void cut() {
        auto all = copies();
        for (int steps = 0; all.step(); ++steps) REQUIRE(steps < 1000);
    }
    bool exists(const std::string& name) { return std::filesystem::exists(directory / name); }
};

}  // namespace

TEST_CASE_FIXTURE(Cutting, "what is longer than the cap is put away, and nothing else") {
    write("long.log", "this is too long\n");
    write("short.log", "short\n");
    write("other.txt", "this is no log at all\n");
    write("long.log.1", "older, and longer than what replaces it\n");
    cut();
    CHECK(read("long.log").empty());
    CHECK(read("long.log.1") == "this is too long\n");
    CHECK(read("short.log") == "short\n");
    CHECK_FALSE(exists("short.log.1"));
    CHECK(read("other.txt") == "this is no log at all\n");
    CHECK_FALSE(exists("long.log.1.unfinished"));
    CHECK(complaints.empty());
}

TEST_CASE_FIXTURE(Cutting, "what is written while it is copied is kept, in whichever file") {
    const std::string block(300'000, 'a');
    write("web.log", block);
    auto all = copies();
    std::string written = block;
    for (int steps = 0; all.step(); ++steps) {
        REQUIRE(steps < 1000);
        if (steps > 5) continue;
        const std::string line = "line " + std::to_string(steps) + "\n";
        write("web.log", line);
        written += line;
    }
    write("web.log", "after\n");
    CHECK(read("web.log.1") + read("web.log") == written + "after\n");
    CHECK(read("web.log").size() < 100);
}

TEST_CASE_FIXTURE(Cutting, "nothing is lost whenever the agent dies in the middle of it") {
    const std::string text(600'000, 'x');
    for (int steps_before_its_death = 0;; ++steps_before_its_death) {
        std::filesystem::remove(directory / "web.log");
        std::filesystem::remove(directory / "web.log.1");
        write("web.log.1", "old");
        write("web.log", text);
        bool more = true;
        {
            auto all = copies();
            for (int steps = 0; more && steps < steps_before_its_death; ++steps) more = all.step();
        }
        CAPTURE(steps_before_its_death);
        CHECK((read("web.log") == text || read("web.log.1") == text));
        CHECK_FALSE(exists("web.log.1.unfinished"));
        if (!more) break;
    }
}

TEST_CASE_FIXTURE(Cutting, "what a dead agent left of a copy is begun anew") {
    write("web.log", "this is too long\n");
    write("web.log.1.unfinished", "half of");
    cut();
    CHECK(read("web.log.1") == "this is too long\n");
}

TEST_CASE_FIXTURE(Cutting, "what is no regular file isn't followed, and said") {
    write("victim", "this is too long\n");
    std::filesystem::create_symlink(directory / "victim", directory / "a.log");
    std::filesystem::create_symlink(directory / "victim", directory / "b.log.1.unfinished");
    std::filesystem::create_symlink(directory / "victim", directory / "b.log.1");
    std::filesystem::create_directory(directory / "c.log");
    REQUIRE(::mkfifo((directory / "d.log").c_str(), 0600) == 0);
    write("b.log", "this is too long, too\n");
    cut();
    CHECK(read("victim") == "this is too long\n");
    CHECK(read("b.log.1") == "this is too long, too\n");
    CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(directory / "b.log.1")));
    std::sort(complaints.begin(), complaints.end());
    CHECK(complaints == std::vector<std::string>{"a.log: it is no regular file",
                                                 "c.log: it is no regular file",
                                                 "d.log: it is no regular file"});
}

TEST_CASE_FIXTURE(Cutting, "one that can't be put away is left as it is, and said") {
    write("a.log", "this is too long\n");
    write("b.log", "this is too long\n");
    std::filesystem::create_directories(directory / "a.log.1/full");
    cut();
    CHECK(read("a.log") == "this is too long\n");
    CHECK(read("b.log.1") == "this is too long\n");
    CHECK(complaints == std::vector<std::string>{"a.log: replace the older one: Is a directory"});
    CHECK_FALSE(exists("a.log.1.unfinished"));
}

}  // namespace lastcall
