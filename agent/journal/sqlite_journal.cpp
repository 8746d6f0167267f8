#include "agent/journal/sqlite_journal.hpp"

#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <variant>

#include "agent/journal/keeper.hpp"
#include "supervisor/await.hpp"

namespace lastcall {
namespace {

constexpr Disk::Duration patience_at_the_end{2000};

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

/// Something to write, or a question.
struct Job {
    using Question = std::function<void(Keeper&, Receipt&)>;
    std::variant<Entry, Question> what;
    std::shared_ptr<Receipt> receipt;
};

/// The jobs, and who does them on the disk's thread. Its two owners are the journal and the work
/// that the disk has got: a disk that hangs may outlive the journal.
class Clerk {
 public:
    Clerk(JournalParts& parts, std::string directory)
        : executor_(parts.executor),
          health_(parts.health),
          keeper_(parts.clock, std::move(directory), Tidings(executor_, parts.log, parts.health),
                  parts.reclaim) {
        keeper_.open();
    }

    /// True: the disk must be asked to call `work`.
    bool take(Job job) {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(std::move(job));
        ++open_;
        return !std::exchange(called_, true);
    }
    /// From now on nobody hears of what is done. Returns how many jobs weren't.
    std::size_t leave_alone() {
        const std::lock_guard lock(mutex_);
        alone_ = true;
        return open_;
    }
    /// How many records couldn't be written; when the disk has finished.
    std::size_t unwritten() const { return keeper_.unwritten(); }

    // On the disk's thread:

    std::optional<Disk::Duration> work() {
        Jobs jobs;
        {
            const std::lock_guard lock(mutex_);
            jobs = std::exchange(jobs_, {});
            called_ = false;
        }
        // Not at the very beginning: the first records would wait for it.
        const bool first = !std::exchange(called_before_, true);
        if (jobs.empty() && !first) keeper_.tidy();
        // What is written one after the other is written together; a question sees what came
        // before it.
        for (std::size_t begin = 0, end = 0; begin < jobs.size(); begin = end) {
            end = begin + 1;
            if (auto* const question = std::get_if<Job::Question>(&jobs[begin].what)) {
                answer(jobs[begin], *question);
                continue;
            }
            while (end < jobs.size() && std::holds_alternative<Entry>(jobs[end].what)) ++end;
            write(jobs, begin, end);
        }
        return keeper_.rest();
    }

    void finish() { keeper_.finish(); }

 private:
    using Jobs = std::vector<Job>;

    void write(Jobs& jobs, std::size_t begin, std::size_t end) {
        std::vector<Entry> entries;
        for (auto job = begin; job < end; ++job)
            entries.push_back(std::move(std::get<Entry>(jobs[job].what)));
        const auto failures = keeper_.write(std::move(entries));
        for (auto job = begin; job < end; ++job) {
            const auto& failure = failures[job - begin];
            hand_back(jobs[job], failure.empty()
                                     ? nullptr
                                     : std::make_exception_ptr(std::runtime_error(failure)));
        }
    }

    void answer(Job& job, const Job::Question& question) {
        std::exception_ptr error;
        try {
            question(keeper_, *job.receipt);
        } catch (const std::exception& failure) {
            // Goes to who waits for it, with what it was about.
            const auto text = fmt::format("cannot read the journal: {}", failure.what());
            error = std::make_exception_ptr(std::runtime_error(text));
        }
        hand_back(job, std::move(error));
    }

    void hand_back(Job& job, std::exception_ptr error) {
        const std::lock_guard lock(mutex_);
        --open_;
        if (alone_) return;
        job.receipt->error = std::move(error);
        asio::post(executor_, [receipt = std::move(job.receipt), health = &health_] {
            health->done();
            receipt->done.set();
        });
    }

    asio::any_io_executor executor_;
    JournalHealth& health_;
    Keeper keeper_;
    bool called_before_ = false;
    std::mutex mutex_;  // guards what follows
    Jobs jobs_;
    std::size_t open_ = 0;
    bool called_ = false, alone_ = false;
};

class SqliteJournal : public Journal {
 public:
    SqliteJournal(JournalParts parts, std::string directory)
        : parts_(std::move(parts)), clerk_(std::make_shared<Clerk>(parts_, std::move(directory))) {
        call();
    }
    ~SqliteJournal() override {
        parts_.disk.urgent(clerk_.get(), [clerk = clerk_]() -> std::optional<Disk::Duration> {
            clerk->finish();
            return std::nullopt;
        });
        const bool finished = parts_.disk.finish(patience_at_the_end);
        const auto lost = finished ? clerk_->unwritten() : clerk_->leave_alone();
        if (lost == 0) return;
        parts_.log.say(
            Level::error, "Journal ends without its last records",
            {{"error", finished ? parts_.health.report().trouble : "the disk takes longer than 2s"},
             {"recordsLost", std::to_string(lost)}});
    }

    awaitable<void> record(const TaskState& task) override {
        const auto receipt = hand_over({Entry{task}, {}});
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
    }

    awaitable<void> record(StopRecord stop, std::optional<std::size_t> phase) override {
        const auto noted = std::exchange(noted_, {});
        const auto receipt = hand_over({entry(std::move(stop), phase), {}});
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
        for (const auto& earlier : noted) {
            if (earlier->error) std::rethrow_exception(earlier->error);
        }
    }

    void note(StopRecord stop, std::optional<std::size_t> phase) override {
        noted_.push_back(hand_over({entry(std::move(stop), phase), {}}));
    }

    void note(const TaskState& task) override { noted_.push_back(hand_over({Entry{task}, {}})); }

    awaitable<std::vector<Remnant>> remnants(Clock::utc_time since) override {
        Job::Question read = [since](Keeper& keeper, Receipt& receipt) {
            receipt.remnants = keeper.remnants(since, receipt.troubles);
        };
        const auto receipt = hand_over({std::move(read), {}});
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
        for (const auto& trouble : receipt->troubles) {
            parts_.log.say(Level::error, "Task of the journal is not supervised",
                           {{"error", trouble}});
        }
        co_return std::move(receipt->remnants);
    }

    awaitable<std::vector<StopRecord>> stops(std::optional<std::string> task,
                                             std::size_t limit) override {
        Job::Question read = [task = std::move(task), limit](Keeper& keeper, Receipt& receipt) {
            receipt.stops = keeper.stops(task, limit);
        };
        const auto receipt = hand_over({std::move(read), {}});
        co_await receipt->done.wait();
        if (receipt->error) std::rethrow_exception(receipt->error);
        co_return std::move(receipt->stops);
    }

    bool flush(std::chrono::milliseconds at_most) override {
        return parts_.disk.finish(at_most) && clerk_->unwritten() == 0;
    }

 private:
    static Entry entry(StopRecord stop, std::optional<std::size_t> phase) {
        return {Entry::OfStop{std::move(stop), phase}};
    }

    std::shared_ptr<Receipt> hand_over(Job job) {
        auto receipt = std::make_shared<Receipt>(parts_.executor);
        job.receipt = receipt;
        parts_.health.handed_over();
        if (clerk_->take(std::move(job))) call();
        return receipt;
    }

    void call() {
        parts_.disk.urgent(clerk_.get(), [clerk = clerk_] { return clerk->work(); });
    }

    JournalParts parts_;
    std::shared_ptr<Clerk> clerk_;
    std::vector<std::shared_ptr<Receipt>> noted_;  ///< nobody has asked yet how they went
};

}  // namespace

std::unique_ptr<Journal> sqlite_journal(JournalParts parts, std::string directory) {
    return std::make_unique<SqliteJournal>(std::move(parts), std::move(directory));
}

}  // namespace lastcall
