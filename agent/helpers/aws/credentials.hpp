#pragma once
#include <memory>
#include <optional>
#include <string>

#include "agent/helpers/aws/flight.hpp"
#include "agent/helpers/aws/metadata.hpp"
#include "agent/helpers/aws/server_time.hpp"
#include "agent/helpers/aws/surroundings.hpp"

namespace lastcall::aws {

struct Credentials {
    std::string access_key;
    std::string secret;
    std::string token;  ///< of a session; empty: none
    std::optional<Clock::utc_time> expires;

    friend bool operator==(const Credentials&, const Credentials&) = default;
};

/// `text` without the secrets of `credentials`, which AWS quotes in some of its refusals.
std::string without_secrets(std::string text, const Credentials& credentials);

/// Where credentials come from, in the order of AWS's SDKs: the environment, the profile in the
/// shared files, the container, the instance. Kept until 5 minutes before they expire.
class CredentialChain {
 public:
    /// `gate` must be closed before this is gone.
    CredentialChain(Gate& gate, asio::any_io_executor executor, Http& http,
                    InstanceMetadata& instance, const ServerTime& time, const Surroundings& around);
    /// Throws Failure; with the code `no_credentials` if there are none anywhere: its text then
    /// names all the places that were looked at.
    awaitable<Credentials> get(Note note);
    /// AWS doesn't take these (any more): the next `get` looks again.
    void distrust(const Credentials& credentials);

 private:
    awaitable<Credentials> look();
    awaitable<std::optional<Credentials>> from_container();
    awaitable<std::optional<Credentials>> from_instance();
    bool fresh() const;

    Gate& gate_;
    asio::any_io_executor executor_;
    Http& http_;
    InstanceMetadata& instance_;
    const ServerTime& time_;
    const Surroundings& around_;
    std::optional<Credentials> kept_;
    std::shared_ptr<Flight<Credentials>> looking_;
};

}  // namespace lastcall::aws
