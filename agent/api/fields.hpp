#pragma once
#include <type_traits>

#include "agent/api/types.hpp"

// The keys of every shape, listed once; a writer or a reader of JSON goes along the list
// (types.cpp). `must`: always there. `may`: left out when none, empty or the default. `null`: null
// when none.
namespace lastcall::api {

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Requester>) {
    io.may("uid", it.uid);
    io.may("pid", it.pid);
    io.must("via", it.via);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Survivor>) {
    io.must("pid", it.pid);
    io.must("command", it.command);
    io.must("state", it.state);
    io.must("waitChannel", it.waitChannel);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Phase>) {
    io.must("phase", it.phase);
    io.may("container", it.container);
    io.must("startedAt", it.startedAt);
    io.must("durationMs", it.durationMs);
    io.may("outcome", it.outcome);
    io.must("detail", it.detail);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<ContainerEnd>) {
    io.must("name", it.name);
    io.null("exitCode", it.exitCode);
    io.null("signal", it.signal);
    io.may("coreDumped", it.coreDumped);
    io.null("killedBy", it.killedBy);
    io.null("reason", it.reason);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Stop>) {
    io.must("id", it.id);
    io.must("task", it.task);
    io.must("stopCode", it.stopCode);
    io.must("stoppedReason", it.stoppedReason);
    io.must("requestedBy", it.requestedBy);
    io.must("requestedAt", it.requestedAt);
    io.may("stoppedAt", it.stoppedAt);
    io.must("durationMs", it.durationMs);
    io.may("outcome", it.outcome);
    io.must("survivors", it.survivors);
    io.may("survivorDetails", it.survivorDetails);
    io.must("deregistrationDelayMs", it.deregistrationDelayMs);
    io.must("savedMs", it.savedMs);
    io.must("containers", it.containers);
    io.must("phases", it.phases);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Progress>) {
    io.must("stop", it.stop);
    io.may("connections", it.connections);
    io.must("waitingFor", it.waitingFor);
    io.may("next", it.next);
    io.may("nextInMs", it.nextInMs);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Container>) {
    io.must("name", it.name);
    io.may("pid", it.pid);
    io.may("exitCode", it.exitCode);
    io.may("signal", it.signal);
    io.may("reason", it.reason);
    io.must("command", it.command);
    io.may("logFile", it.logFile);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Task>) {
    io.must("name", it.name);
    io.must("id", it.id);
    io.must("lastStatus", it.lastStatus);
    io.must("desiredStatus", it.desiredStatus);
    io.may("stopCode", it.stopCode);
    io.may("stoppedReason", it.stoppedReason);
    io.must("createdAt", it.createdAt);
    io.may("startedAt", it.startedAt);
    io.may("stoppingAt", it.stoppingAt);
    io.may("stoppedAt", it.stoppedAt);
    io.must("containers", it.containers);
    io.must("loadBalancers", it.loadBalancers);
    io.must("ports", it.ports);
    io.may("connections", it.connections);
    io.may("stopTimeoutMs", it.stopTimeoutMs);
    io.must("deregistrationDelayMs", it.deregistrationDelayMs);
    io.may("stopping", it.stopping);
    io.may("survivors", it.survivors);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<RunRequest>) {
    io.must("name", it.name);
    io.must("command", it.command);
    io.may("environment", it.environment);
    io.may("workingDirectory", it.workingDirectory);
    io.may("ports", it.ports);
    io.may("loadBalancers", it.loadBalancers);
    io.may("stopTimeout", it.stopTimeout);
    io.may("deregistrationDelay", it.deregistrationDelay);
    io.may("deregisterTimeout", it.deregisterTimeout);
    io.may("drain", it.drain);
    io.may("drainIdle", it.drainIdle);
    io.may("drainSignal", it.drainSignal);
    io.may("stopSignal", it.stopSignal);
    io.may("signalScope", it.signalScope);
    io.may("stopDeadline", it.stopDeadline);
    io.may("preStop", it.preStop);
    io.may("preStopTimeout", it.preStopTimeout);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<StopRequest>) {
    io.may("drain", it.drain, true);
    io.may("force", it.force);
    io.may("timeout", it.timeout);
    io.may("drainTimeout", it.drainTimeout);
    io.may("signal", it.signal);
    io.may("reason", it.reason);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<SignalRequest>) {
    io.must("signal", it.signal);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Setting>) {
    io.must("name", it.name);
    io.must("flag", it.flag);
    io.must("value", it.value);
    io.must("source", it.source);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<JournalState>) {
    io.must("status", it.status);
    io.may("trouble", it.trouble);
    io.may("since", it.since);
    io.must("waiting", it.waiting);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Metadata>) {
    io.must("Cluster", it.Cluster);
    io.must("Version", it.Version);
    io.must("pid", it.pid);
    io.must("mode", it.mode);
    io.may("journal", it.journal);
    io.may("startedAt", it.startedAt);
    io.may("silentMs", it.silentMs);
    io.may("upgradeFailure", it.upgradeFailure);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<UpgradeRequest>) {
    io.may("binary", it.binary);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<TaskList>) {
    io.must("tasks", it.tasks);
    io.may("journal", it.journal);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<StopList>) {
    io.must("stops", it.stops);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<SettingList>) {
    io.must("settings", it.settings);
}

template <class IO, class T>
void fields(IO& io, T& it, std::type_identity<Problem>) {
    io.must("type", it.type);
    io.must("title", it.title);
    io.must("status", it.status);
    io.must("detail", it.detail);
    io.may("stop", it.stop);
}

}  // namespace lastcall::api
