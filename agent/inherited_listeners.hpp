#pragma once
#include <sys/socket.h>

#include <vector>

// Listening sockets that this process had before it executed itself anew (execve(2)), by their
// address. They are the process's, as its descriptors are: whoever is about to bind asks here
// first, so that a port that is listened on stays so, and what waits in its backlog is accepted.
namespace lastcall {

/// These are there to be taken; close-on-exec from now on.
void inherit_listeners(const std::vector<int>& descriptors);

/// The one bound to exactly this address, which is the caller's from now on; -1 if there is none.
int inherited_listener(const sockaddr* address, socklen_t size);

/// Closes what nobody has taken.
void close_inherited_listeners();

/// Every listening socket of ours: those that were opened since `already_there` was made.
std::vector<int> our_listeners(const std::vector<int>& already_there);
/// Every descriptor that is open.
std::vector<int> open_descriptors();

}  // namespace lastcall
