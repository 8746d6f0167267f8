#include "agent/user.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>

#include "temporary_directory.hpp"

using namespace lastcall;

namespace {

using Groups = std::vector<gid_t>;

class Accounts {
 public:
    Accounts() {
        std::ofstream(passwd()) << "root:x:0:0:root:/root:/bin/sh\n"
                                   "broken line\n"
                                   "web:x:1000:1001:Web:/srv/web:/bin/sh\n"
                                   "twin:x:1000:7::/twin:\n"
                                   "7:x:70:71::/seven:\n"
                                   "homeless:x:1002:1002:::\n";
        std::ofstream(group()) << "root:x:0:\n"
                                  "web:x:1001:\n"
                                  "log:x:20:web,twin\n"
                                  "mail:x:21:twin\n"
                                  "other:x:22:x,web\n"
                                  "again:x:1001:web\n"
                                  "30:x:31:\n";
    }
    std::string passwd() const { return directory_ / "passwd"; }
    std::string group() const { return directory_ / "group"; }
    User find(const std::string& spec) const { return find_user(spec, passwd(), group()); }
    std::string refusal(const std::string& spec) const {
        try {
            find(spec);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    }

 private:
    TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("a user by name has his own group, those that name him, and his home") {
    const User user = Accounts().find("web");
    CHECK(user.identity.uid == 1000);
    CHECK(user.identity.gid == 1001);
    CHECK(user.identity.groups == Groups{1001, 20, 22});
    CHECK(user.home == "/srv/web");
}

TEST_CASE("a user by number is the first entry of that number") {
    const User user = Accounts().find("1000");
    CHECK(user.identity.gid == 1001);
    CHECK(user.identity.groups == Groups{1001, 20, 22});
}

TEST_CASE("a name that looks like a number wins over the number") {
    CHECK(Accounts().find("7").identity.uid == 70);
    CHECK(Accounts().find("web:30").identity.gid == 31);
}

TEST_CASE("a group that is given is the only one") {
    const User user = Accounts().find("web:log");
    CHECK(user.identity.uid == 1000);
    CHECK(user.identity.gid == 20);
    CHECK(user.identity.groups.empty());
    CHECK(Accounts().find("web:4000").identity.gid == 4000);
}

TEST_CASE("numbers need no entry, and no file") {
    const User user = find_user("4242:17", "/nowhere/passwd", "/nowhere/group");
    CHECK(user.identity.uid == 4242);
    CHECK(user.identity.gid == 17);
    CHECK(user.home == "/");
    const User without_group = find_user("4242", "/nowhere/passwd", "/nowhere/group");
    CHECK(without_group.identity.gid == ::getgid());
    CHECK(without_group.identity.groups.empty());
    CHECK(Accounts().find("homeless").home == "/");
}

TEST_CASE("who can't be found is refused in one line that says where was looked") {
    const Accounts accounts;
    CHECK(accounts.refusal("nobody") ==
          "cannot run as 'nobody': there is no user 'nobody' in " + accounts.passwd());
    CHECK(accounts.refusal("web:staff") ==
          "cannot run as 'web:staff': there is no group 'staff' in " + accounts.group());
    for (const auto* spec : {"", ":", "web:", ":web", "4294967295", "-1", "1:4294967296", "1:-1"}) {
        CAPTURE(spec);
        CHECK(accounts.refusal(spec).starts_with("cannot run as"));
    }
}
