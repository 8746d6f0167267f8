#include "agent/api/types.hpp"
