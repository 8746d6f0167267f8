#include "agent/idle_memory.hpp"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lastcall {

void release_program_pages() {
    const auto release = [](dl_phdr_info* object, std::size_t, void*) {
        const auto page = static_cast<ElfW(Addr)>(::sysconf(_SC_PAGESIZE));
        for (int index = 0; index < object->dlpi_phnum; ++index) {
            const auto& segment = object->dlpi_phdr[index];
            if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
            const auto begin = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
            // A page that it shares with the next segment stays.
            const auto end = (object->dlpi_addr + segment.p_vaddr + segment.p_filesz) & ~(page - 1);
            if (begin < end) {
                ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
            }
        }
        return 1;  // the program comes first; a static one is all there is
    };
    ::dl_iterate_phdr(release, nullptr);
}

}  // namespace lastcall
