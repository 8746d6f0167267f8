#include "agent/env_file.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <stdexcept>

#include "temporary_directory.hpp"

using namespace lastcall;
using namespace std::string_literals;

namespace {

using Lines = std::vector<std::string>;

class EnvFile {
 public:
    explicit EnvFile(const std::string& text) { std::ofstream(path()) << text; }
    std::string path() const { return directory_ / "web.env"; }
    Lines read() const { return read_env_file(path(), {{"HOME", "/root"}, {"EMPTY", ""}}); }
    std::string refusal() const {
        try {
            read();
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    }

 private:
    TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("an environment file is read as docker reads it") {
    CHECK(EnvFile("A=1\n# B=2\n\n   \n  C= 3 = \"x\" # no comment\nD=\nHOME\nEMPTY\nUNSET\nE=5")
              .read() ==
          Lines{"A=1", "C= 3 = \"x\" # no comment", "D=", "HOME=/root", "EMPTY=", "E=5"});
    CHECK(EnvFile("\xEF\xBB\xBF"
                  "A=1\r\nB=2\r\n")
              .read() == Lines{"A=1", "B=2"});
    CHECK(EnvFile("").read().empty());
}

TEST_CASE("a line that is none is refused with file and number, without the value") {
    for (const auto& [line, shown] : {std::pair{"=secret"s, ""s},
                                      {"A B=secret"s, "A B"s},
                                      {"A =secret"s, "A "s},
                                      {"export A=1"s, "export A"s},
                                      {"two words"s, "two words"s},
                                      {"A=x\0y"s, "A"s}}) {
        CAPTURE(line);
        const EnvFile file("OK=1\n#\n" + line + "\n");
        CHECK(file.refusal() == "cannot use the environment file '" + file.path() +
                                    "': line 3 has '" + shown +
                                    "', not NAME=value, NAME, a comment or blank");
    }
}

TEST_CASE("an environment file that can't be read is refused") {
    CHECK_THROWS_WITH_AS(
        read_env_file("/nowhere/web.env", {}),
        "cannot read the environment file '/nowhere/web.env': No such file or directory",
        std::runtime_error);
    CHECK_THROWS_WITH_AS(read_env_file("/", {}),
                         "cannot read the environment file '/': Is a directory",
                         std::runtime_error);
}
