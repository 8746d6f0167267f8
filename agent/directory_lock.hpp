#pragma once
#include <string>

namespace lastcall {

/// One agent a data directory. The lock is the kernel's, so a dead agent leaves none; it is on the
/// directory itself, which can be locked where nothing can be written, and on the file `lock` in
/// it, which tells the owner's pid.
class DirectoryLock {
 public:
    /// Makes the directory, and `logs` in it. One that can't be written is locked all the same, and
    /// one that isn't there on a disk that can't be written needs no lock. Throws
    /// std::runtime_error "cannot …" for another agent's, and for what can't be one.
    explicit DirectoryLock(std::string directory);
    ~DirectoryLock();
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;

    /// Locks what the path leads to now, if it was removed or replaced; throws as the constructor.
    void renew();

 private:
    void make();
    void lock();
    std::string owner() const;

    std::string directory_;
    int place_ = -1, file_ = -1;
};

}  // namespace lastcall
