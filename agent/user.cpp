#include "agent/user.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace lastcall {
namespace {

[[noreturn]] void refuse(const std::string& spec, const std::string& why) {
    throw std::runtime_error(fmt::format("cannot run as '{}': {}", spec, why));
}

/// 2^32 - 1 is none: it means "no change", setresuid(2).
std::optional<std::uint32_t> id_number(std::string_view text) {
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole && id != ~std::uint32_t{0} ? std::optional(id) : std::nullopt;
}

/// A file of accounts; one that doesn't exist has no entry.
class Accounts {
 public:
    Accounts(const std::string& path, const std::string& spec)
        : file_(std::fopen(path.c_str(), "re"), &std::fclose) {
        if (!file_ && errno != ENOENT && errno != ENOTDIR) {
            refuse(spec, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
        }
    }
    const passwd* next_user() { return file_ ? ::fgetpwent(file_.get()) : nullptr; }
    const group* next_group() { return file_ ? ::fgetgrent(file_.get()) : nullptr; }

 private:
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

struct Entry {
    std::string name, home;
    uid_t uid = 0;
    gid_t gid = 0;
};

std::optional<Entry> user_entry(const std::string& spec, std::string_view wanted,
                                const std::string& path) {
    const auto number = id_number(wanted);
    std::optional<Entry> by_number;
    Accounts accounts(path, spec);
    while (const passwd* each = accounts.next_user()) {
        const Entry entry{each->pw_name, each->pw_dir, each->pw_uid, each->pw_gid};
        if (entry.name == wanted) return entry;
        if (!by_number && number == entry.uid) by_number = entry;
    }
    return by_number;
}

gid_t group_id(const std::string& spec, std::string_view wanted, const std::string& path) {
    auto found = id_number(wanted);
    Accounts accounts(path, spec);
    while (const group* each = accounts.next_group()) {
        if (each->gr_name == wanted) return each->gr_gid;
    }
    if (!found) refuse(spec, fmt::format("there is no group '{}' in {}", wanted, path));
    return *found;
}

std::vector<gid_t> groups_of(const std::string& spec, const Entry& user, const std::string& path) {
    std::vector<gid_t> groups{user.gid};
    Accounts accounts(path, spec);
    while (const group* each = accounts.next_group()) {
        const bool known = std::find(groups.begin(), groups.end(), each->gr_gid) != groups.end();
        for (char** member = each->gr_mem; !known && *member; ++member) {
            if (*member == user.name) {
                groups.push_back(each->gr_gid);
                break;
            }
        }
    }
    return groups;
}

}  // namespace

User find_user(const std::string& spec, const std::string& passwd, const std::string& group) {
    const auto colon = std::min(spec.find(':'), spec.size());
    const auto name = std::string_view(spec).substr(0, colon);
    const bool with_group = colon < spec.size();
    const auto group_name = std::string_view(spec).substr(std::min(colon + 1, spec.size()));
    if (name.empty() || (with_group && group_name.empty())) {
        refuse(spec, "expected NAME or UID, and :GROUP or :GID if it isn't the user's own");
    }
    const auto number = id_number(name);
    const auto entry = user_entry(spec, name, passwd);
    if (!entry && !number) refuse(spec, fmt::format("there is no user '{}' in {}", name, passwd));

    User user{.home = entry && !entry->home.empty() ? entry->home : "/"};
    user.identity.uid = entry ? entry->uid : *number;
    if (with_group) {
        user.identity.gid = group_id(spec, group_name, group);
    } else if (entry) {
        user.identity.gid = entry->gid;
        user.identity.groups = groups_of(spec, *entry, group);
    } else {
        user.identity.gid = ::getgid();
    }
    return user;
}

}  // namespace lastcall
