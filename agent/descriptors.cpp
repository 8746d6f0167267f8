#include "agent/descriptors.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace lastcall {

void hold_standard_descriptors() {
    for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
        if (::fcntl(number, F_GETFD) != -1) continue;
        // The lowest number that is free is given: this one. An empty root file system has no /dev.
        if (::open("/dev/null", O_RDWR | O_CLOEXEC) == -1) ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
}

}  // namespace lastcall
