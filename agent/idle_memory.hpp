#pragma once

namespace lastcall {

/// Gives back what only the start has needed of the program itself. The kernel maps text in pieces
/// of 64 kB around each page that is touched, so a start maps most of it; what is needed again is
/// in the page cache. Never what can be written: the relocated part of it is nowhere else.
void release_program_pages();

}  // namespace lastcall
