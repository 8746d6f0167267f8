#include "cli/draw/task.hpp"

#include <fmt/format.h>

#include <utility>

#include "cli/draw/stop.hpp"
#include "cli/draw/table.hpp"
#include "cli/draw/time.hpp"

namespace lastcall::cli {
namespace {

Ink ink(const std::string& status) {
    if (status == "RUNNING") return Ink::good;
    return status == "STOPPED" ? Ink::dim : Ink::busy;
}

template <class Items>
std::string joined(const Items& items, std::string_view comma) {
    return fmt::format("{}", fmt::join(items, comma));
}

std::string count(const std::optional<std::int64_t>& number) {
    return number ? std::to_string(*number) : "";
}

/// How its containers ended: "exit code 0", "db ended by SIGKILL, app exit code 1".
std::string ends(const api::Task& task) {
    std::vector<std::string> pieces;
    for (const api::Container& each : task.containers) {
        std::string piece;
        if (each.exitCode) piece = fmt::format("exit code {}", *each.exitCode);
        const bool unknown = each.reason && each.reason->starts_with("UnknownExitCode");
        if (unknown) piece = "exit code unknown";
        if (each.signal) piece = "ended by " + *each.signal;
        if (piece.empty()) continue;
        pieces.push_back(task.containers.size() > 1 ? each.name + " " + piece : piece);
    }
    return joined(pieces, ", ");
}

/// How long it has been up, or how it ended and when.
std::string uptime(const api::Task& task, std::int64_t now) {
    if (task.lastStatus == "STOPPED") {
        const std::string ended = ends(task), when = ago(task.stoppedAt.value_or(""), now);
        const std::string how = ended.empty() ? task.stopCode.value_or("") : ended;
        return how + (how.empty() || when.empty() ? "" : ", ") + when;
    }
    const auto started = moment(task.startedAt.value_or(""));
    return started ? age(now - *started) : "";
}

std::string pids(const api::Task& task) {
    std::vector<std::int64_t> pids;
    for (const api::Container& each : task.containers) {
        if (each.pid) pids.push_back(*each.pid);
    }
    return joined(pids, ",");
}

using Fact = std::pair<std::string, std::string>;

void add_moment(std::vector<Fact>& facts, std::string name, const std::optional<std::string>& at,
                std::int64_t now) {
    if (at) facts.emplace_back(std::move(name), date(*at) + ", " + ago(*at, now));
}

void add_containers(std::vector<Fact>& facts, const api::Task& task) {
    for (const api::Container& each : task.containers) {
        facts.emplace_back("container", each.name);
        facts.emplace_back("  command", joined(each.command, " "));
        if (each.pid) facts.emplace_back("  pid", count(each.pid));
        if (each.exitCode) facts.emplace_back("  exit code", count(each.exitCode));
        if (each.signal) facts.emplace_back("  ended by", *each.signal);
        if (each.reason) facts.emplace_back("  reason", *each.reason);
        if (each.logFile) facts.emplace_back("  log", *each.logFile);
    }
}

/// "pid 4711, nfs-mount, state D in rpc_wait"
std::string described(const api::Survivor& survivor) {
    const auto& where = survivor.waitChannel;
    return fmt::format("pid {}, {}, state {}{}", survivor.pid, survivor.command, survivor.state,
                       where.empty() ? "" : " in " + where);
}

void add_stop(std::vector<Fact>& facts, const Canvas& canvas, const api::Task& task) {
    if (task.stopCode) facts.emplace_back("stop code", *task.stopCode);
    if (task.stoppedReason) facts.emplace_back("stopped reason", *task.stoppedReason);
    if (task.stopping) {
        const api::Progress& progress = *task.stopping;
        facts.emplace_back("asked by", requester(canvas, progress.stop.requestedBy));
        if (!progress.waitingFor.empty()) facts.emplace_back("waiting for", progress.waitingFor);
        if (progress.next && progress.nextInMs) {
            facts.emplace_back("next", *progress.next + " within " + countdown(*progress.nextInMs));
        }
    }
    for (const api::Survivor& each : task.survivors) {
        facts.emplace_back("survivor", described(each));
    }
}

}  // namespace

std::string task_table(const Canvas& canvas, const std::vector<api::Task>& tasks,
                       std::int64_t now) {
    const std::vector<Column> titles = {{"NAME"},          {"STATUS"}, {"PID"},
                                        {"UPTIME"},        {"PORTS"},  {"CONNECTIONS", true},
                                        {"LOAD BALANCERS"}};
    std::vector<std::vector<Cell>> rows;
    for (const api::Task& task : tasks) {
        const bool stopped = task.lastStatus == "STOPPED";
        rows.push_back({Cell(task.name, Ink::bold), Cell(task.lastStatus, ink(task.lastStatus)),
                        pids(task), uptime(task, now), joined(task.ports, ","),
                        stopped ? "" : count(task.connections), joined(task.loadBalancers, " ")});
    }
    std::string text = table(canvas, titles, rows);
    for (const api::Task& task : tasks) {
        for (const api::Survivor& each : task.survivors) {
            const auto line = fmt::format("{} is not stopped, this outlived SIGKILL: {}", task.name,
                                          described(each));
            text += paint(canvas, Ink::bad, printable(canvas, line)) + "\n";
        }
    }
    return text;
}

std::string journal_trouble(const Canvas& canvas, const std::optional<api::JournalState>& journal,
                            std::int64_t now) {
    if (!journal || journal->status == "ok") return "";
    std::string line = "The journal is " + journal->status;
    if (journal->since)
        line += " since " + date(*journal->since) + ", " + ago(*journal->since, now);
    if (journal->trouble) line += ": " + *journal->trouble;
    line += fmt::format("; {} record{} not on the disk", journal->waiting,
                        journal->waiting == 1 ? "" : "s");
    return paint(canvas, Ink::bad, printable(canvas, line)) + "\n";
}

std::string task_facts(const Canvas& canvas, const api::Task& task, std::int64_t now) {
    std::vector<Fact> facts = {{"name", task.name}, {"id", task.id}};
    std::string status = task.lastStatus;
    if (task.desiredStatus != status) status += ", should be " + task.desiredStatus;
    facts.emplace_back("status", status);
    add_moment(facts, "created", task.createdAt, now);
    add_moment(facts, "started", task.startedAt, now);
    add_moment(facts, "stopping", task.stoppingAt, now);
    add_moment(facts, "stopped", task.stoppedAt, now);
    add_stop(facts, canvas, task);
    if (!task.ports.empty()) facts.emplace_back("ports", joined(task.ports, " "));
    if (task.connections) facts.emplace_back("connections", count(task.connections));
    for (const std::string& each : task.loadBalancers) facts.emplace_back("load balancer", each);
    if (!task.loadBalancers.empty()) {
        facts.emplace_back("deregistration delay", duration(task.deregistrationDelayMs));
    }
    const std::string limit = task.stopTimeoutMs ? duration(*task.stopTimeoutMs)
                                                 : "half of what the stop deadline leaves";
    facts.emplace_back("stop timeout", limit);
    add_containers(facts, task);

    std::string text;
    for (const auto& [name, value] : facts) {
        text +=
            paint(canvas, Ink::dim, pad_right(name, 20)) + "  " + printable(canvas, value) + "\n";
    }
    return text;
}

}  // namespace lastcall::cli
