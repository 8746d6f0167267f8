#include <doctest/doctest.h>

#include "supervisor/cgroup_mounts.hpp"

using namespace lastcall;

namespace {

const std::string unified_cgroup = "0::/system.slice/web.service\n";
const std::string unified_mounts =
    "23 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n"
    "31 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

const std::string hybrid_cgroup =
    "9:name=systemd:/user.slice\n"
    "4:cpu,memory:/engine/c1\n"
    "1:freezer:/\n"
    "0::/user.slice/session-1.scope\n";
const std::string hybrid_mounts =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,memory rw,relatime - cgroup cgroup rw,cpu,memory\n"
    "37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

}  // namespace

TEST_CASE("a host with version 2 alone") {
    CHECK(own_cgroup("cgroup2", unified_cgroup, unified_mounts) ==
          "/sys/fs/cgroup/system.slice/web.service");
    CHECK_FALSE(own_cgroup("memory", unified_cgroup, unified_mounts));
}

TEST_CASE("a hybrid host: version 2 beside the controllers of version 1") {
    CHECK(own_cgroup("cgroup2", hybrid_cgroup, hybrid_mounts) ==
          "/sys/fs/cgroup/unified/user.slice/session-1.scope");
    CHECK(own_cgroup("freezer", hybrid_cgroup, hybrid_mounts) == "/sys/fs/cgroup/freezer");
}

TEST_CASE("controllers of version 1 that share a hierarchy, in any order") {
    for (const auto* controller : {"cpu", "memory"}) {
        CHECK(own_cgroup(controller, hybrid_cgroup, hybrid_mounts) ==
              "/sys/fs/cgroup/cpu,memory/engine/c1");
    }
    CHECK_FALSE(own_cgroup("mem", hybrid_cgroup, hybrid_mounts));
    CHECK_FALSE(own_cgroup("cpu,memory", hybrid_cgroup, hybrid_mounts));
    CHECK_FALSE(own_cgroup("rw", hybrid_cgroup, hybrid_mounts));
}

TEST_CASE("a container with a cgroup namespace is at the root of what it sees") {
    CHECK(own_cgroup("cgroup2", "0::/\n", "31 24 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n") ==
          "/sys/fs/cgroup");
}

TEST_CASE("a container that sees a part of the tree") {
    const std::string cgroup = "4:memory:/engine/c1\n0::/engine/c1/inner\n";
    const std::string mounts =
        "31 24 0:29 /engine/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "32 24 0:26 /engine/c1 /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n";
    CHECK(own_cgroup("cgroup2", cgroup, mounts) == "/sys/fs/cgroup/unified/inner");
    CHECK(own_cgroup("memory", cgroup, mounts) == "/sys/fs/cgroup/memory");
    SUBCASE("of which we are no part") {
        for (const auto* elsewhere : {"0::/engine/c10\n", "0::/engine\n", "0::/\n", "0::/../c2\n"})
            CHECK_FALSE(own_cgroup("cgroup2", elsewhere, mounts));
    }
    SUBCASE("another mount shows the whole") {
        const std::string whole = "33 24 0:26 / /mnt/all rw - cgroup2 cgroup rw\n";
        CHECK(own_cgroup("cgroup2", "0::/engine/c2\n", mounts + whole) == "/mnt/all/engine/c2");
    }
}

TEST_CASE("blanks and backslashes in a mount point are escaped") {
    const std::string mounts = R"(31 24 0:26 /a\040b /mnt/my\040cgroup\134two rw - cgroup2 c rw)";
    CHECK(own_cgroup("cgroup2", "0::/a b/c d", mounts) == R"(/mnt/my cgroup\two/c d)");
}

TEST_CASE("a mount may have no tags, or several") {
    for (const std::string tags : {"", "shared:1 ", "shared:1 master:2 unbindable "}) {
        CHECK(own_cgroup("cgroup2", "0::/x",
                         "31 24 0:26 / /cg rw,nosuid " + tags + "- cgroup2 none rw\n") == "/cg/x");
    }
}

TEST_CASE("what isn't one of these files is nowhere") {
    const std::string garbage[] = {"",
                                   "\n",
                                   "\n\n",
                                   "0",
                                   "0:",
                                   "0::",
                                   ":::",
                                   " - ",
                                   " - cgroup2",
                                   "31 24 - cgroup2 cgroup2 rw",
                                   "31 24 0:26 / - cgroup2 cgroup2 rw",
                                   "cgroup2",
                                   std::string(5, '\0'),
                                   "\\",
                                   "0::/\\04",
                                   "\xff\xfe",
                                   std::string(10000, ':'),
                                   std::string(10000, ' ')};
    for (const auto& cgroup : garbage) {
        for (const auto& mounts : garbage) {
            CHECK_FALSE(own_cgroup("cgroup2", cgroup, mounts));
            CHECK_FALSE(own_cgroup("memory", cgroup, mounts));
        }
        CHECK_FALSE(own_cgroup("memory", cgroup, hybrid_mounts));
    }
}

TEST_CASE("texts that were cut off anywhere bring no nonsense") {
    for (std::size_t size = 0; size < hybrid_mounts.size(); ++size) {
        const auto place = own_cgroup("memory", hybrid_cgroup, hybrid_mounts.substr(0, size));
        if (place) CHECK(*place == "/sys/fs/cgroup/cpu,memory/engine/c1");
    }
    for (std::size_t size = 0; size < hybrid_cgroup.size(); ++size) {
        const auto place = own_cgroup("cgroup2", hybrid_cgroup.substr(0, size), hybrid_mounts);
        if (place) CHECK(place->starts_with("/sys/fs/cgroup/unified"));
    }
    const std::string escaped = R"(31 24 0:26 / /cg\040 rw - cgroup2 c rw)";
    for (std::size_t size = 0; size < escaped.size(); ++size)
        own_cgroup("cgroup2", "0::/x", escaped.substr(0, size) + " - cgroup2 c rw");
}

TEST_CASE("this very machine: what is found is a directory of cgroups, or nothing") {
    const auto place = own_cgroup("cgroup2");
    if (place) CHECK(place->starts_with("/"));
    CHECK_FALSE(own_cgroup("no-such-controller"));
}
