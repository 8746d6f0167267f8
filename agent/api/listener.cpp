#include "agent/api/listener.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "agent/inherited_listeners.hpp"

namespace lastcall::api {
namespace {

/// A file descriptor that is closed at the end of its scope.
class Descriptor {
 public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return number_; }
    int release() { return std::exchange(number_, -1); }

 private:
    int number_;
};

[[noreturn]] void refuse(const std::string& path, const std::string& cause) {
    throw std::runtime_error(fmt::format("cannot listen on '{}': {}", path, cause));
}

[[noreturn]] void refuse(const std::string& path, int error) {
    refuse(path, std::generic_category().message(error));
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty()) refuse(path, "the path is empty");
    if (path.size() >= sizeof address.sun_path) {
        refuse(path, fmt::format("the path is longer than {} bytes", sizeof address.sun_path - 1));
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

int bind_or_connect(int (*call)(int, const sockaddr*, socklen_t), int socket,
                    const std::string& path) {
    const sockaddr_un address = address_of(path);
    return call(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

/// Only root's agent is for everybody's sight; who may connect is the socket's own mode.
void make_directory(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos || slash == 0) return;
    const std::string directory = path.substr(0, slash);
    const mode_t mode = ::geteuid() == 0 ? 0755 : 0700;
    if (::mkdir(directory.c_str(), mode) == 0 || errno == EEXIST) return;
    if (errno == ENOENT) {
        make_directory(directory);
        if (::mkdir(directory.c_str(), mode) == 0 || errno == EEXIST) return;
    }
    refuse(path, fmt::format("cannot make '{}': {}", directory, std::strerror(errno)));
}

/// Two agents that start at the same moment must not each take the other's new socket for a dead
/// one: the directory is locked meanwhile. Anybody who can read the directory can hold that lock,
/// so a stranger's is waited for no longer than 100 ms.
Descriptor lock_directory_of(const std::string& path) {
    const auto slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    Descriptor lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    constexpr timespec pause{0, 1'000'000};
    for (int tries = 0; tries < 100 && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
        if (errno != EWOULDBLOCK) break;
        ::nanosleep(&pause, nullptr);
    }
    return Descriptor(lock.release());
}

/// Unlinks what a dead agent left at `path`; refuses if somebody listens there, or if it is no
/// socket at all.
void clear_the_way(const std::string& path) {
    struct stat status = {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return;
        refuse(path, errno);
    }
    if (!S_ISSOCK(status.st_mode)) refuse(path, "something that is no socket is there");
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (probe.get() < 0) refuse(path, errno);
    if (bind_or_connect(::connect, probe.get(), path) == 0) {
        ucred peer{};
        socklen_t size = sizeof peer;
        ::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size);
        refuse(path, fmt::format("another agent (pid {}) is", peer.pid));
    }
    if (errno == EAGAIN) refuse(path, "another agent, too busy to answer, is");  // a full backlog
    if (errno != ECONNREFUSED && errno != ENOENT) refuse(path, errno);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) refuse(path, errno);
}

/// The socket that this process listened on before it executed itself anew, if `path` still leads
/// to it; else -1.
int inherited_socket(const std::string& path) {
    const sockaddr_un address = address_of(path);
    Descriptor socket(
        inherited_listener(reinterpret_cast<const sockaddr*>(&address), sizeof address));
    if (socket.get() < 0) return -1;
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const bool reached = bind_or_connect(::connect, probe.get(), path) == 0;
    if (!reached) return errno == EAGAIN ? socket.release() : -1;  // its backlog is full
    ucred peer{};
    socklen_t size = sizeof peer;
    ::getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size);
    return peer.pid == ::getpid() ? socket.release() : -1;
}

/// Linux gives the name that `bind` makes the mode of the socket itself (unix_bind), less the
/// umask: it is never, not for a moment, open to others.
int listen_on(const std::string& path) {
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0 || ::fchmod(socket.get(), 0600) != 0) refuse(path, errno);
    if (bind_or_connect(::bind, socket.get(), path) != 0) refuse(path, errno);
    if (::listen(socket.get(), SOMAXCONN) != 0) {
        const int error = errno;
        ::unlink(path.c_str());
        refuse(path, error);
    }
    return socket.release();
}

}  // namespace

Listener::Listener(asio::any_io_executor executor, std::string path)
    : path_(std::move(path)), acceptor_(std::move(executor)) {
    address_of(path_);
    make_directory(path_);
    const Descriptor lock = lock_directory_of(path_);
    int socket = inherited_socket(path_);
    if (socket < 0) {
        clear_the_way(path_);
        socket = listen_on(path_);
    }
    acceptor_.assign(asio::local::stream_protocol(), socket);
    struct stat status = {};
    if (::lstat(path_.c_str(), &status) != 0) refuse(path_, errno);
    device_ = status.st_dev;
    inode_ = status.st_ino;
}

Listener::~Listener() {
    struct stat status = {};
    if (::lstat(path_.c_str(), &status) != 0) return;
    if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace lastcall::api
