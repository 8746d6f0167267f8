#pragma once
#include <string>

#include "supervisor/launch.hpp"

namespace lastcall {

struct User {
    Identity identity;
    std::string home;  ///< "/" if there is none
};

/// Who `--user NAME|UID[:GROUP|GID]` means. Numbers need no entry in any file; a name wins over an
/// equal number. Without a group: the user's own and those that name him, or ours if he has no
/// entry; with one: that and no other. Reads the files itself, since a static program has no NSS.
/// Throws std::runtime_error ("cannot run as 'USER': …").
User find_user(const std::string& spec, const std::string& passwd = "/etc/passwd",
               const std::string& group = "/etc/group");

}  // namespace lastcall
