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

bool is_ours_and_listens(int descriptor) {
    const int flags = ::fcntl(descriptor, F_GETFD);
    // What was there before us, and is for our tasks, isn't close-on-exec.
    if (flags == -1 || (flags & FD_CLOEXEC) == 0) return false;
    int listens = 0;
    socklen_t size = sizeof listens;
    const int result = ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
    return result == 0 && listens != 0;
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

std::vector<int> our_listeners() {
    std::vector<int> found;
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", failure)) {
        const std::string name = entry.path().filename().string();
        int descriptor = -1;
        std::from_chars(name.data(), name.data() + name.size(), descriptor);
        if (is_ours_and_listens(descriptor)) found.push_back(descriptor);
    }
    return found;
}

}  // namespace lastcall
