#pragma once
#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace lastcall {

/// A new directory under /tmp, gone with all that is in it at the end.
class TemporaryDirectory {
 public:
    TemporaryDirectory() {
        char name[] = "/tmp/lastcall-XXXXXX";
        if (!mkdtemp(name)) throw std::runtime_error("cannot make a temporary directory");
        path_ = name;
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

 private:
    std::string path_;
};

}  // namespace lastcall
