#pragma once

namespace lastcall {

/// Occupies 0 to 2 where they are closed, so that none of our own descriptors becomes somebody's
/// stdin, stdout or stderr; what is started finds them closed all the same. First thing in main.
void hold_standard_descriptors();

}  // namespace lastcall
