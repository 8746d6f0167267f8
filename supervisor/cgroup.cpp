#include "supervisor/cgroup.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <system_error>

#include "supervisor/cgroup_mounts.hpp"
#include "supervisor/proc.hpp"

namespace lastcall {
namespace {

bool write_to(const std::string& path, std::string_view text) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file == -1) return false;
    const bool written = ::write(file, text.data(), text.size()) != -1;
    ::close(file);
    return written;
}

/// The cgroup and all below it, the deepest first.
void for_each_deepest_first(const std::string& path,
                            const std::function<void(const std::string&)>& each) {
    if (DIR* const listing = ::opendir(path.c_str())) {
        while (const dirent* entry = ::readdir(listing)) {
            const std::string_view name = entry->d_name;
            if (entry->d_type != DT_DIR || name == "." || name == "..") continue;
            for_each_deepest_first(fmt::format("{}/{}", path, name), each);
        }
        ::closedir(listing);
    }
    each(path);
}

}  // namespace

std::unique_ptr<Cgroup> Cgroup::make(asio::any_io_executor executor, const std::string& name) {
    const auto ours = own_cgroup("cgroup2");
    if (!ours) return nullptr;
    const std::string path = fmt::format("{}/{}", *ours, name);
    if (::mkdir(path.c_str(), 0755) == -1) return nullptr;
    auto made = open(std::move(executor), path);
    if (!made) ::rmdir(path.c_str());
    return made;
}

std::unique_ptr<Cgroup> Cgroup::find(asio::any_io_executor executor, const std::string& name) {
    const auto ours = own_cgroup("cgroup2");
    return ours ? open(std::move(executor), fmt::format("{}/{}", *ours, name)) : nullptr;
}

std::unique_ptr<Cgroup> Cgroup::open(asio::any_io_executor executor, const std::string& path) {
    const int directory = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int events = ::open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC);
    if (directory == -1 || events == -1) {
        if (directory != -1) ::close(directory);
        if (events != -1) ::close(events);
        return nullptr;
    }
    return std::unique_ptr<Cgroup>(new Cgroup(std::move(executor), path, directory, events));
}

Cgroup::Cgroup(asio::any_io_executor executor, std::string path, int directory, int events)
    : path_(std::move(path)), directory_(directory), events_(std::move(executor), events) {}

Cgroup::~Cgroup() {
    for_each_deepest_first(path_, [](const std::string& each) { ::rmdir(each.c_str()); });
    ::close(directory_);
}

bool Cgroup::is_populated() const {
    // One that was removed has nobody in it, and no such file.
    return proc::contents(path_ + "/cgroup.events").find("populated 1") != std::string::npos;
}

std::vector<pid_t> Cgroup::members() const {
    std::vector<pid_t> members;
    for_each_deepest_first(path_, [&members](const std::string& each) {
        const std::string text = proc::contents(each + "/cgroup.procs");
        const char* at = text.c_str();
        for (char* end = nullptr;; at = end) {
            const long pid = std::strtol(at, &end, 10);
            if (end == at) break;
            if (pid > 1) members.push_back(static_cast<pid_t>(pid));  // 0: of another namespace
        }
    });
    return members;
}

bool Cgroup::kill() const { return write_to(path_ + "/cgroup.kill", "1"); }

void Cgroup::thaw() const { write_to(path_ + "/cgroup.freeze", "0"); }

awaitable<void> Cgroup::changed() {
    // To read is to have seen: only what comes later is told (cgroups(7), cgroup.events).
    char text[128];
    const auto size = ::pread(events_.native_handle(), text, sizeof text, 0);
    if (size == -1) {  // removed: it has no more to say, and would say so for ever
        asio::steady_timer nothing(events_.get_executor(), asio::steady_timer::time_point::max());
        co_await nothing.async_wait(asio::use_awaitable);
    }
    co_await events_.async_wait(events_.wait_error, asio::use_awaitable);
}

void Cgroup::remove() {
    int error = 0;
    for_each_deepest_first(path_, [&error](const std::string& each) {
        if (::rmdir(each.c_str()) == -1 && errno != ENOENT) error = errno;
    });
    if (error == 0) return;
    throw std::system_error(error, std::generic_category(),
                            fmt::format("cannot remove the cgroup '{}'", path_));
}

}  // namespace lastcall
