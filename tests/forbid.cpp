// Runs a command in a world where a part of the kernel says no, as some containers' seccomp filters
// do (seccomp(2)): the call fails with EPERM, for the command and all its descendants.
//
//   forbid netlink -- CMD…      no NETLINK_SOCK_DIAG socket can be made (sock_diag(7))
//   forbid membership -- CMD…   no netlink socket can join a group: no notifications, dumps work
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sock_diag.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_AARCH64;
#else
#error "forbid knows x86-64 and AArch64"
#endif

/// A system call that is refused when two of its arguments are these.
struct Refusal {
    std::string_view name;
    std::uint32_t call;
    struct Argument {
        std::uint32_t index, value;
    } first, second;
};
constexpr Refusal refusals[] = {
    {"netlink", SYS_socket, {0, AF_NETLINK}, {2, NETLINK_SOCK_DIAG}},
    {"membership", SYS_setsockopt, {1, SOL_NETLINK}, {2, NETLINK_ADD_MEMBERSHIP}},
};

/// Both are ints: their low halves, of a little-endian machine.
constexpr std::uint32_t offset_of(const Refusal::Argument& argument) {
    return offsetof(seccomp_data, args) + argument.index * sizeof(std::uint64_t);
}

bool install(const Refusal& refusal) {
    constexpr std::uint16_t load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K,
                            answer = BPF_RET | BPF_K;
    sock_filter code[] = {
        {load, 0, 0, offsetof(seccomp_data, arch)}, {equal, 0, 7, architecture},
        {load, 0, 0, offsetof(seccomp_data, nr)},   {equal, 0, 5, refusal.call},
        {load, 0, 0, offset_of(refusal.first)},     {equal, 0, 3, refusal.first.value},
        {load, 0, 0, offset_of(refusal.second)},    {equal, 0, 1, refusal.second.value},
        {answer, 0, 0, SECCOMP_RET_ERRNO | EPERM},  {answer, 0, 0, SECCOMP_RET_ALLOW},
    };
    const sock_fprog program{.len = sizeof code / sizeof *code, .filter = code};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc >= 4 && std::string_view(argv[2]) == "--") {
        for (const Refusal& refusal : refusals) {
            if (refusal.name != argv[1]) continue;
            if (install(refusal)) ::execvp(argv[3], argv + 3);
            std::fprintf(stderr, "forbid: cannot run %s: %s\n", argv[3], std::strerror(errno));
            return 126;
        }
    }
    std::fprintf(stderr, "usage: forbid netlink|membership -- COMMAND…\n");
    return 2;
}
