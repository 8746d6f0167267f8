#include "agent/inherited_listeners.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string>

namespace lastcall {
namespace {

std::vector<int>& inherited() {
    static std::vector<int> descriptors;
    return descriptors;
}

bool is_bound_to(int descriptor, const sockaddr* address, socklen_t size) {
    sockaddr_storage own{};
    socklen_t own_size = sizeof own;
    if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return false;
    if (own.ss_family != address->sa_family) return false;
    if (own.ss_family == AF_UNIX) {  // its size tells nothing: the zero at the end may count or not
        const auto* const path = reinterpret_cast<const char*>(&own) + sizeof(sa_family_t);
        const auto* const wanted = reinterpret_cast<const char*>(address) + sizeof(sa_family_t);
        return std::strncmp(path, wanted, size - sizeof(sa_family_t)) == 0;
    }
    return own_size == size && std::memcmp(&own, address, size) == 0;
}

bool listens(int descriptor) {
    int answer = 0;
    socklen_t size = sizeof answer;
    const int result = ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size);
    return result == 0 && answer != 0;
}

}  // namespace

void inherit_listeners(const std::vector<int>& descriptors) {
    for (const int each : descriptors) {
        if (::fcntl(each, F_SETFD, FD_CLOEXEC) == 0) inherited().push_back(each);
    }
}

int inherited_listener(const sockaddr* address, socklen_t size) {
    const auto found = std::find_if(inherited().begin(), inherited().end(),
                                    [&](int each) { return is_bound_to(each, address, size); });
    if (found == inherited().end()) return -1;
    const int descriptor = *found;
    inherited().erase(found);
    return descriptor;
}

void close_inherited_listeners() {
    for (const int each : inherited()) ::close(each);
    inherited().clear();
}

std::vector<int> our_listeners(const std::vector<int>& already_there) {
    std::vector<int> found = open_descriptors();
    std::erase_if(found, [&already_there](int each) {
        return std::ranges::count(already_there, each) > 0 || !listens(each);
    });
    return found;
}

std::vector<int> open_descriptors() {
    std::vector<int> found;
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", failure)) {
        const std::string name = entry.path().filename().string();
        std::from_chars(name.data(), name.data() + name.size(), found.emplace_back());
    }
    // The one that the list was read from is closed by now.
    std::erase_if(found, [](int each) { return ::fcntl(each, F_GETFD) == -1; });
    return found;
}

}  // namespace lastcall
