#pragma once
#include <string>

namespace lastcall {

/// One agent a data directory. The lock is the kernel's, so a dead agent leaves none; it is on the
/// file `lock`, which tells the owner's pid; where that can't be made, on the journal, or on the
/// directory itself.
class DirectoryLock {
 public:
    /// Makes the directory, and `logs` in it. One that can't be written is locked all the same, and
    /// one that isn't there on a disk that can't be written needs no lock. Throws
    /// std::runtime_error "cannot …" for another agent's, and for what can't be one.
    /// `inherited`: the descriptor by which an image of us before this one has it; or -1.
    explicit DirectoryLock(std::string directory, int inherited = -1);
    ~DirectoryLock();
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;

    /// Locks what the path leads to now, if it was removed or replaced, and the file `lock` if that
    /// can be made now; throws as the constructor. Any thread may call it, one at a time.
    void renew();
    /// What is locked, for the image that comes after this one.
    int descriptor() const { return file_; }

 private:
    void make();
    bool goes_on(int inherited);
    void lock();
    void lock_without_file();
    [[noreturn]] void refuse() const;
    std::string owner() const;

    std::string directory_;
    int place_ = -1;        ///< the directory
    int file_ = -1;         ///< what is locked
    bool is_file_ = false;  ///< it is `lock`
};

}  // namespace lastcall
