#include "agent/journal/sqlite_journal.hpp"

#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>
#include <utility>

#include "agent/journal/store.hpp"
#include "supervisor/await.hpp"

namespace lastcall {
namespace {

/// What a coroutine waits for. Its two owners are the coroutine, which may be cancelled, and the
/// job, which is done all the same. `done` is touched by the loop's thread alone.
struct Receipt {
    explicit Receipt(asio::any_io_executor executor) : done(std::move(executor)) {}
    Event done;
    std::exception_ptr error;
    std::vector<StopRecord> stops;
    std::vector<Remnant> remnants;
    std::vector<std::string> troubles;  ///< of what could not be read of them
};

struct Job {
    enum class Kind { write, read } kind;
    std::string purpose;  ///< "record the stop of 'web'"
    std::function<void(Store&, Receipt&)> work;
    std::shared_ptr<Receipt> receipt;
};

/// Between two prunings: a thousand records are about a hundred stops.
constexpr std::size_t records_between_prunings = 1000;
/// Tidying up waits for the disk, so it is done when nobody has recorded anything for so long.
constexpr auto rest = std::chrono::seconds(1);

class SqliteJournal : public Journal {
 public:
    SqliteJournal(asio::any_io_executor executor, std::unique_ptr<Store> store, Log& log)
        : executor_(std::move(executor)), log_(log), store_(std::move(store)) {
        // Signals are for the thread that waits for them.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        writer_ = std::thread([this] { work_until_closed(); });
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    ~SqliteJournal() override {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        wake_.notify_one();
        writer_.join();
    }

    awaitable<void> record(const TaskState& task) override {
        const auto receipt = hand_over(task);
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
    }

    awaitable<void> record(StopRecord stop, std::optional<std::size_t> phase) override {
        const auto noted = std::exchange(noted_, {});
        const auto receipt = hand_over(std::move(stop), phase);
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
        for (const auto& earlier : noted) {
            if (earlier->error) std::rethrow_exception(earlier->error);
        }
    }

    void note(StopRecord stop, std::optional<std::size_t> phase) override {
        noted_.push_back(hand_over(std::move(stop), phase));
    }

    void note(const TaskState& task) override { noted_.push_back(hand_over(task)); }

    awaitable<std::vector<Remnant>> remnants(Clock::utc_time since) override {
        auto read = [since](Store& store, Receipt& receipt) {
            receipt.remnants = store.remnants(since, receipt.troubles);
        };
        const auto receipt = hand_over({Job::Kind::read, "read the journal", std::move(read), {}});
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
        for (const auto& trouble : receipt->troubles) {
            log_.say(Level::error, "Task of the journal is not supervised", {{"error", trouble}});
        }
        co_return std::move(receipt->remnants);
    }

    awaitable<std::vector<StopRecord>> stops(std::optional<std::string> task,
                                             std::size_t limit) override {
        auto read = [task = std::move(task), limit](Store& store, Receipt& receipt) {
            receipt.stops = store.stops().read(task, limit);
        };
        const auto receipt = hand_over({Job::Kind::read, "read the journal", std::move(read), {}});
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
        co_return std::move(receipt->stops);
    }

    bool flush(std::chrono::milliseconds at_most) override {
        std::unique_lock lock(mutex_);
        const auto is_idle = [this] { return queue_.empty() && !working_; };
        return idle_.wait_for(lock, at_most, is_idle) && !failed_;
    }

 private:
    using Jobs = std::vector<Job>;

    std::shared_ptr<Receipt> hand_over(const TaskState& task) {
        auto purpose = fmt::format("record the task '{}'", task.definition.name);
        auto write = [task](Store& store, Receipt&) { store.tasks().write(task); };
        return hand_over({Job::Kind::write, std::move(purpose), std::move(write), {}});
    }

    std::shared_ptr<Receipt> hand_over(StopRecord stop, std::optional<std::size_t> phase) {
        auto purpose = fmt::format("record the stop of '{}'", stop.task);
        auto write = [stop = std::move(stop), phase](Store& store, Receipt&) {
            store.stops().write(stop, phase);
        };
        return hand_over({Job::Kind::write, std::move(purpose), std::move(write), {}});
    }

    std::shared_ptr<Receipt> hand_over(Job job) {
        auto receipt = std::make_shared<Receipt>(executor_);
        job.receipt = receipt;
        {
            const std::lock_guard lock(mutex_);
            queue_.push_back(std::move(job));
        }
        wake_.notify_one();
        return receipt;
    }

    // From here on: the writer's thread.

    void work_until_closed() {
        tidy();
        std::unique_lock lock(mutex_);
        const auto has_work = [this] { return closed_ || !queue_.empty(); };
        for (;;) {
            const bool untidy = written_ > 0;
            if (untidy && !wake_.wait_for(lock, rest, has_work)) {
                lock.unlock();  // tidying up may be left half done
                tidy();
                lock.lock();
                continue;
            }
            wake_.wait(lock, has_work);
            if (queue_.empty()) return;
            Jobs jobs = std::exchange(queue_, {});
            working_ = true;
            lock.unlock();
            do_all(std::move(jobs));
            lock.lock();
            working_ = false;
            idle_.notify_all();
        }
    }

    /// What is written one after the other is committed together; a read sees what came before it.
    void do_all(Jobs jobs) {
        for (std::size_t begin = 0, end = 0; begin < jobs.size(); begin = end) {
            const auto kind = jobs[begin].kind;
            for (end = begin + 1; kind == Job::Kind::write && end < jobs.size(); ++end) {
                if (jobs[end].kind != kind) break;
            }
            if (end - begin > 1 && try_together(jobs, begin, end)) {
                for (auto job = begin; job < end; ++job) finish(jobs[job], nullptr);
                continue;
            }
            for (auto job = begin; job < end; ++job) do_alone(jobs[job]);
        }
        written_ += jobs.size();
        unpruned_ += jobs.size();
    }

    /// False, and nothing is written, if any of them fails: each then learns its own error.
    bool try_together(Jobs& jobs, std::size_t begin, std::size_t end) {
        try {
            Transaction transaction(store_->database());
            for (auto job = begin; job < end; ++job) jobs[job].work(*store_, *jobs[job].receipt);
            transaction.commit();
            return true;
        } catch (const std::exception&) {
            return false;
        }
    }

    void do_alone(Job& job) {
        try {
            if (job.kind == Job::Kind::write) {
                Transaction transaction(store_->database());
                job.work(*store_, *job.receipt);
                transaction.commit();
            } else {
                job.work(*store_, *job.receipt);
            }
        } catch (const std::exception& error) {
            // Goes to who waits for it, with what it was about.
            const auto text = fmt::format("cannot {}: {}", job.purpose, error.what());
            return finish(job, std::make_exception_ptr(std::runtime_error(text)));
        }
        finish(job, nullptr);
    }

    void finish(Job& job, std::exception_ptr error) {
        if (job.kind == Job::Kind::write) {
            const std::lock_guard lock(mutex_);
            failed_ = error != nullptr;
        }
        job.receipt->error = std::move(error);
        asio::post(executor_, [receipt = std::move(job.receipt)] { receipt->done.set(); });
    }

    void tidy() {
        written_ = 0;
        try {
            if (unpruned_ >= records_between_prunings) {
                unpruned_ = 0;
                store_->prune();
            }
            store_->checkpoint();
        } catch (const DatabaseError&) {
            // Nobody waits for it; whatever is wrong, the next record says so.
        }
    }

    asio::any_io_executor executor_;
    Log& log_;
    std::vector<std::shared_ptr<Receipt>> noted_;  ///< nobody has asked yet how they went
    std::unique_ptr<Store> store_;
    std::size_t written_ = 0;                          ///< since the last checkpoint
    std::size_t unpruned_ = records_between_prunings;  ///< since the last pruning

    std::mutex mutex_;  // guards what follows
    std::condition_variable wake_, idle_;
    Jobs queue_;
    bool working_ = false;
    bool failed_ = false;  ///< what was to be written last
    bool closed_ = false;

    std::thread writer_;
};

}  // namespace

std::unique_ptr<Journal> sqlite_journal(asio::any_io_executor executor,
                                        const std::string& directory, Log& log) {
    return std::make_unique<SqliteJournal>(std::move(executor), open_store(directory, log), log);
}

}  // namespace lastcall
