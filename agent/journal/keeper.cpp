#include "agent/journal/keeper.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "agent/journal/salvage.hpp"
#include "agent/journal/schema.hpp"

namespace lastcall {
namespace {

using namespace std::chrono;

/// Between two prunings: a thousand records are about a hundred stops.
constexpr std::size_t records_between_prunings = 1000;
/// Tidying up waits for the disk, so it is done when nobody has recorded anything for so long.
constexpr auto quiet = 1000ms;
/// How soon a disk in trouble is tried again; each time in vain it is twice as long.
constexpr auto first_retry = 1000ms, longest_retry = 16'000ms;
/// The system's own words for an error code, without what the library puts before them.
std::string cause(const std::system_error& error) { return error.code().message(); }

constexpr std::string_view make_room = "make room on the disk, or make it larger",
                           make_writable = "make the directory and the file writable",
                           look_at_disk = "look at the disk and at the kernel's log";

std::string_view remedy_for(const DatabaseError& error) {
    if (error.full()) return make_room;
    return error.read_only() ? make_writable : look_at_disk;
}

std::string_view remedy_for(const std::system_error& error) {
    const auto& code = error.code();
    if (code == std::errc::no_space_on_device) return make_room;
    const bool forbidden = code == std::errc::read_only_file_system ||
                           code == std::errc::permission_denied ||
                           code == std::errc::operation_not_permitted;
    return forbidden ? make_writable : look_at_disk;
}

}  // namespace

Keeper::Keeper(Clock& clock, std::string directory, Tidings tidings, std::function<void()> reclaim)
    : clock_(clock),
      directory_(std::move(directory)),
      path_(directory_ + "/journal.db"),
      tidings_(std::move(tidings)),
      reclaim_(std::move(reclaim)),
      retry_(first_retry),
      unpruned_(records_between_prunings) {}

// ------------------------------------------------------------------------------------- the file

void Keeper::open() {
    open_or_read();
    tidings_.tell([](Log&, JournalHealth& health) { health.kept_in_memory(0); });
}

/// Leaves the file writable, or tells why it isn't; then it is read, if that can be done.
void Keeper::open_or_read() {
    store_.reset();
    writable_ = false;
    bool readable = true;
    try {
        return open_file();
    } catch (const ForeignSchema& error) {
        readable = error.newer();
        fall_ill(error.what(), error.newer() ? "start the newer agent again, or move the file away"
                                             : "name another directory with ECS_DATADIR");
    } catch (const DatabaseError& error) {
        fall_ill(error.what(), remedy_for(error));
    } catch (const std::system_error& error) {
        fall_ill(cause(error), remedy_for(error));
    } catch (const std::exception& error) {
        fall_ill(error.what(), look_at_disk);
    }
    if (!readable) return;
    // Caught here: it is trouble enough that it can't be written.
    try {
        store_ = read_only_store(path_);
    } catch (const std::exception&) {
    }
}

void Keeper::open_file() {
    make_journal_file(directory_, path_);
    try {
        store_ = std::make_unique<Store>(path_);
    } catch (const DatabaseError& error) {
        if (!error.damaged()) throw;
        begin_anew_instead_of(error.what());
    }
    writable_ = true;
}

/// A damaged journal mustn't keep tasks from running, nor be lost to those who can mend it.
void Keeper::begin_anew_instead_of(const std::string& error) {
    store_.reset();
    writable_ = false;
    const auto aside = move_aside(path_);
    make_journal_file(directory_, path_);
    store_ = std::make_unique<Store>(path_);
    writable_ = true;
    const Salvaged salvaged = salvage(aside, *store_);
    tidings_.tell([path = path_, error, aside, salvaged](Log& log, JournalHealth& health) {
        log.say(Level::error, "Journal is damaged, beginning a new one",
                {{"journal", path},
                 {"error", error},
                 {"movedTo", aside},
                 {"tasksCarriedOver", std::to_string(salvaged.tasks)},
                 {"stopsCarriedOver", std::to_string(salvaged.stops)}});
        if (health.restate) health.restate();
    });
}

/// Whoever removes the directory, or puts another file in the journal's place, has told nobody. A
/// new file begins with all that goes on.
bool Keeper::still_in_place() {
    if (store_->in_place()) {
        return store_->database().has_its_headers() || replace_damaged("it was written over");
    }
    store_.reset();
    writable_ = false;
    std::string trouble;
    try {
        if (reclaim_) reclaim_();
        open_or_read();
        if (!is_writable()) return false;
    } catch (const std::exception& error) {
        fall_ill(error.what(), "stop the other agent");
        return false;
    }
    tidings_.tell([path = path_](Log& log, JournalHealth& health) {
        log.say(Level::error, "Journal was removed or replaced, beginning a new one",
                {{"journal", path}, {"lost", "the records of what was over"}});
        if (health.restate) health.restate();
    });
    return true;
}

// ------------------------------------------------------------------------------------ what comes

Keeper::Failures Keeper::write(std::vector<Entry> entries) {
    Failures failures(entries.size());
    const auto due = [this] { return clock_.now() - tried_ >= first_retry; };
    const bool well = trouble_.empty() || (due() && catch_up());
    if (well && try_together(entries, failures)) {
        written_ += entries.size();
        unpruned_ += entries.size();
        return failures;
    }
    for (auto& entry : entries) memory_.keep(std::move(entry));
    tell_memory();
    return failures;
}

bool Keeper::try_together(const std::vector<Entry>& entries, Failures& failures) {
    if (!still_in_place()) return false;
    try {
        Transaction transaction(store_->database());
        for (const auto& entry : entries) entry.write(*store_);
        transaction.commit();
        return true;
    } catch (const DatabaseError& error) {
        if (!error.of_the_record()) return mend(error) && try_together(entries, failures);
    }
    // Each then learns its own error.
    for (std::size_t index = 0; index < entries.size(); ++index) {
        try {
            Transaction transaction(store_->database());
            entries[index].write(*store_);
            transaction.commit();
        } catch (const DatabaseError& error) {
            failures[index] = fmt::format("cannot {}: {}", entries[index].purpose(), error.what());
        }
    }
    return true;
}

/// True: the file is another one now, and may be well.
bool Keeper::mend(const DatabaseError& error) {
    if (!error.damaged()) {
        fall_ill(error.what(), remedy_for(error));
        return false;
    }
    return replace_damaged(error.what());
}

bool Keeper::replace_damaged(const std::string& error) {
    try {
        begin_anew_instead_of(error);
        return true;
    } catch (const DatabaseError& failure) {
        fall_ill(failure.what(), remedy_for(failure));
    } catch (const std::system_error& failure) {
        fall_ill(cause(failure), remedy_for(failure));
    } catch (const std::exception& failure) {
        fall_ill(failure.what(), look_at_disk);
    }
    return false;
}

void Keeper::read(const std::function<void(Store&)>& question) {
    try {
        if (is_writable()) still_in_place();
        if (store_) question(*store_);
    } catch (const DatabaseError& error) {
        if (!error.damaged() || !is_writable() || !mend(error)) throw;
        question(*store_);
    }
}

std::vector<Remnant> Keeper::remnants(Clock::utc_time since, std::vector<std::string>& troubles) {
    std::vector<Remnant> found;
    read([&](Store& store) {
        troubles.clear();
        found = store.remnants(since, troubles);
    });
    return found;
}

std::vector<StopRecord> Keeper::stops(const std::optional<std::string>& task, std::size_t limit) {
    std::vector<StopRecord> found;
    read([&](Store& store) { found = store.stops().read(task, limit); });
    memory_.put_into(found, task);
    if (found.size() > limit) found.resize(limit);
    return found;
}

// ------------------------------------------------------------------------------------- in memory

void Keeper::try_again() {
    // Where nothing could be written another agent may have come first.
    try {
        if (reclaim_) reclaim_();
    } catch (const std::exception& error) {
        return fall_ill(error.what(), "stop the other agent");
    }
    open_or_read();
}

/// True: it is well again, and nothing is in memory any more.
bool Keeper::catch_up() {
    tried_ = clock_.now();
    if (!is_writable()) try_again();
    const bool writes = is_writable() && still_in_place();
    if (writes) caught_up_ += write_memory();
    if (!writes || memory_.size() > 0) {
        retry_ = std::min<milliseconds>(retry_ * 2, longest_retry);
        tell_memory();
        return false;
    }
    retry_ = first_retry;
    written_ += caught_up_;
    tidings_.tell([records = std::exchange(caught_up_, 0), lost = memory_.lost()](
                      Log& log, JournalHealth& health) {
        log.say(
            Level::info, "Journal is well again",
            {{"recordsCaughtUp", std::to_string(records)}, {"recordsLost", std::to_string(lost)}});
        health.well();
        health.kept_in_memory(0);
    });
    trouble_.clear();
    memory_.clear();
    return true;
}

/// Each by itself, for there may be room for some.
std::size_t Keeper::write_memory() {
    std::size_t written = 0;
    bool hopeless = false;
    for (auto& entry : memory_.take()) {
        try {
            if (!hopeless) {
                Transaction transaction(store_->database());
                entry.write(*store_);
                transaction.commit();
                ++written;
                continue;
            }
        } catch (const DatabaseError& error) {
            if (error.of_the_record()) {
                memory_.lose();
                continue;
            }
            hopeless = !error.full();
            if (hopeless) hopeless = !mend(error);
        }
        memory_.keep(std::move(entry));
    }
    return written;
}

void Keeper::tell_memory() const {
    tidings_.tell([records = memory_.size()](Log&, JournalHealth& health) {
        health.kept_in_memory(records);
    });
}

void Keeper::fall_ill(const std::string& error, std::string_view remedy) {
    if (error == trouble_) return;
    if (trouble_.empty()) tried_ = clock_.now();
    trouble_ = error;
    tidings_.tell(
        [path = path_, error, remedy = std::string(remedy)](Log& log, JournalHealth& health) {
            log.say(Level::error, "Journal can't be written, records are kept in memory",
                    {{"journal", path},
                     {"error", error},
                     {"lost", "what is recorded from now on, if the agent dies before it is well"},
                     {"remedy", remedy}});
            health.ill(error);
        });
}

// ------------------------------------------------------------------------------------ in quietness

std::optional<milliseconds> Keeper::rest() const {
    if (!trouble_.empty()) return retry_;
    if (written_ > 0 || unpruned_ >= records_between_prunings) return quiet;
    return std::nullopt;
}

/// A damaged page is found before somebody needs it, not only when he does.
void Keeper::check() {
    try {
        if (!store_->is_sound()) replace_damaged("database disk image is malformed");
    } catch (const DatabaseError& error) {
        if (error.damaged()) replace_damaged(error.what());
    }
}

void Keeper::tidy() {
    if (!trouble_.empty()) {
        catch_up();
        return;
    }
    if (!std::exchange(checked_, true)) check();
    written_ = 0;
    const bool prunes = unpruned_ >= records_between_prunings;
    unpruned_ = prunes ? 0 : unpruned_;
    try {
        if (!is_writable()) return;
        if (prunes) store_->prune();
        store_->checkpoint();
    } catch (const DatabaseError&) {
        // Nobody waits for it; whatever is wrong, the next record says so.
    }
}

void Keeper::finish() {
    if (memory_.size() > 0) catch_up();
}

}  // namespace lastcall
