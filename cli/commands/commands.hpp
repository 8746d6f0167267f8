#pragma once
#include "cli/session.hpp"

// One function a verb, each in the file of its name: from arguments to exit code. They throw Usage
// and Help (arguments.hpp), NoAgent and Refused (client.hpp), std::runtime_error.
namespace lastcall::cli {

int run(Session& session);
int stop(Session& session);
int restart(Session& session);
int ps(Session& session);
int inspect(Session& session);
int timeline(Session& session);
int history(Session& session);
int logs(Session& session);
int signal(Session& session);
int config(Session& session);
int upgrade(Session& session);
int version(Session& session);

}  // namespace lastcall::cli
