#include "supervisor/task.hpp"
namespace lastcall {}
