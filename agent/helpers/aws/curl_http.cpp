#include <curl/curl.h>
#include <fmt/format.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <optional>

#include "agent/helpers/aws/http.hpp"
#include "supervisor/await.hpp"

// libcurl's multi interface, driven by Asio: libcurl says which sockets it wants watched and when
// it wants to be woken; nothing else happens in between.
namespace lastcall::aws {
namespace {

constexpr std::size_t largest_body = 8U << 20U;

template <class Handle, void (*free_it)(Handle*)>
struct Freed {
    void operator()(Handle* handle) const { free_it(handle); }
};
void clean_multi(CURLM* multi) { curl_multi_cleanup(multi); }
using Multi = std::unique_ptr<CURLM, Freed<CURLM, clean_multi>>;
using Easy = std::unique_ptr<CURL, Freed<CURL, curl_easy_cleanup>>;
using Headers = std::unique_ptr<curl_slist, Freed<curl_slist, curl_slist_free_all>>;

long milliseconds(Clock::duration duration) {
    return static_cast<long>(
        std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

/// One exchange under way; libcurl points at it.
struct Exchange {
    Exchange(asio::any_io_executor executor, HttpRequest what)
        : request(std::move(what)), over(std::move(executor)) {}
    HttpRequest request;
    Event over;
    Easy easy;
    Headers headers;
    CURLcode result = CURLE_OK;
    bool too_large = false;
    std::string body;
    std::array<char, CURL_ERROR_SIZE> error{};
};

std::size_t take_body(char* data, std::size_t, std::size_t size, void* user) {
    auto& exchange = *static_cast<Exchange*>(user);
    if (exchange.body.size() + size > largest_body) {
        exchange.too_large = true;
        return 0;  // ends it
    }
    exchange.body.append(data, size);
    return size;
}

std::string header(CURL* easy, const char* name) {
    curl_header* found = nullptr;
    const CURLHcode code = curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found);
    return code == CURLHE_OK ? found->value : "";
}

/// Scheme and authority of a URL, which is all that a message says of it.
std::string host_of(const std::string& url) {
    const auto scheme = url.find("://");
    const auto begin = scheme == std::string::npos ? 0 : scheme + 3;
    return url.substr(0, url.find_first_of("/?#", begin));
}

HttpError failure(const Exchange& exchange) {
    const std::string host = host_of(exchange.request.url);
    if (exchange.too_large) {
        return {fmt::format("{} answers more than {} MiB", host, largest_body >> 20U), true};
    }
    const std::string cause =
        exchange.error[0] != '\0' ? exchange.error.data() : curl_easy_strerror(exchange.result);
    switch (exchange.result) {
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_ISSUER_ERROR:
            return {fmt::format("{} has a certificate that doesn't verify: {}", host, cause),
                    false};
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
            return {fmt::format("{} is no address of a server: {}", host, cause), false};
        case CURLE_SSL_CACERT_BADFILE:
            return {cause, false};
        default:
            return {fmt::format("{} doesn't answer: {}", host, cause), true};
    }
}

class CurlHttp final : public Http {
 public:
    CurlHttp(asio::any_io_executor executor, std::string certificates)
        : executor_(executor),
          certificates_(std::move(certificates)),
          multi_(curl_multi_init()),
          timer_(executor) {
        if (!multi_) throw std::runtime_error("cannot set libcurl up");
        curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, socket_wanted);
        curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
        curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, timer_wanted);
        curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
        curl_multi_setopt(multi_.get(), CURLMOPT_MAX_HOST_CONNECTIONS, 8L);
        curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, 16L);
    }
    ~CurlHttp() override {
        curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, nullptr);
        multi_.reset();  // tells `socket_wanted` of each socket that it closes
        for (auto& [fd, each] : sockets_) each->dismiss();
    }

    awaitable<HttpResponse> send(HttpRequest request) override {
        Exchange exchange(executor_, std::move(request));
        prepare(exchange);
        const Place place(*this, exchange);
        co_await exchange.over.wait();
        if (exchange.result != CURLE_OK) throw failure(exchange);
        HttpResponse response;
        long status = 0;
        curl_easy_getinfo(exchange.easy.get(), CURLINFO_RESPONSE_CODE, &status);
        response.status = static_cast<unsigned>(status);
        response.date = header(exchange.easy.get(), "Date");
        response.location = header(exchange.easy.get(), "Location");
        response.body = std::move(exchange.body);
        co_return response;
    }

 private:
    /// A socket of libcurl's that we watch. Its handlers own it too: they may come after it is
    /// dismissed.
    struct Watched {
        Watched(asio::any_io_executor executor, curl_socket_t fd)
            : descriptor(std::move(executor), fd) {}
        void dismiss() {
            dismissed = true;
            descriptor.release();  // libcurl closes it
        }
        asio::posix::stream_descriptor descriptor;
        int wanted = CURL_POLL_NONE;
        bool reading = false, writing = false, dismissed = false;
    };
    using Socket = std::shared_ptr<Watched>;

    /// An exchange's place in libcurl, left by whoever is cancelled.
    struct Place {
        Place(CurlHttp& owner, Exchange& exchange) : http(owner), easy(exchange.easy.get()) {
            const CURLMcode code = curl_multi_add_handle(http.multi_.get(), easy);
            if (code != CURLM_OK) throw HttpError(curl_multi_strerror(code), true);
        }
        ~Place() { curl_multi_remove_handle(http.multi_.get(), easy); }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        CurlHttp& http;
        CURL* easy;
    };

    void prepare(Exchange& exchange) {
        exchange.easy.reset(curl_easy_init());
        if (!exchange.easy) throw HttpError("libcurl has no memory", true);
        CURL* const easy = exchange.easy.get();
        const HttpRequest& request = exchange.request;
        curl_slist* list = nullptr;
        for (const auto& each : request.headers) list = curl_slist_append(list, each.c_str());
        exchange.headers.reset(list);
        curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "agent-lb-aws/" LASTCALL_VERSION);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(request.connect_timeout));
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(request.timeout));
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange.error.data());
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, &exchange);
        if (!certificates_.empty()) {
            curl_easy_setopt(easy, CURLOPT_CAINFO, certificates_.c_str());
        }
        if (!request.proxied) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
        if (request.method != "GET") {
            curl_easy_setopt(easy, CURLOPT_POST, 1L);
            curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
            curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                             static_cast<curl_off_t>(request.body.size()));
        }
    }

    static int socket_wanted(CURL*, curl_socket_t fd, int wanted, void* user, void*) {
        auto& self = *static_cast<CurlHttp*>(user);
        const auto place = self.sockets_.find(fd);
        if (wanted == CURL_POLL_REMOVE) {
            if (place == self.sockets_.end()) return 0;
            place->second->dismiss();
            self.sockets_.erase(place);
            return 0;
        }
        Socket socket = place == self.sockets_.end()
                            ? self.sockets_[fd] = std::make_shared<Watched>(self.executor_, fd)
                            : place->second;
        socket->wanted = wanted;
        self.watch(socket);
        return 0;
    }

    void watch(const Socket& socket) {
        using asio::posix::stream_descriptor;
        if ((socket->wanted & CURL_POLL_IN) != 0 && !socket->reading) {
            socket->reading = true;
            socket->descriptor.async_wait(stream_descriptor::wait_read,
                                          [this, socket](const boost::system::error_code&) {
                                              socket->reading = false;
                                              ready(socket, CURL_POLL_IN, CURL_CSELECT_IN);
                                          });
        }
        if ((socket->wanted & CURL_POLL_OUT) != 0 && !socket->writing) {
            socket->writing = true;
            socket->descriptor.async_wait(stream_descriptor::wait_write,
                                          [this, socket](const boost::system::error_code&) {
                                              socket->writing = false;
                                              ready(socket, CURL_POLL_OUT, CURL_CSELECT_OUT);
                                          });
        }
    }

    void ready(const Socket& socket, int way, int event) {
        if (socket->dismissed) return;
        if ((socket->wanted & way) == 0) return;  // libcurl has changed its mind
        act(socket->descriptor.native_handle(), event);
        if (!socket->dismissed) watch(socket);
    }

    static int timer_wanted(CURLM*, long milliseconds, void* user) {
        auto& self = *static_cast<CurlHttp*>(user);
        if (milliseconds < 0) {
            self.timer_.cancel();
            return 0;
        }
        // Also for 0: libcurl mustn't be called from its own callback.
        self.timer_.expires_after(std::chrono::milliseconds(milliseconds));
        self.timer_.async_wait([&self](const boost::system::error_code& error) {
            if (!error) self.act(CURL_SOCKET_TIMEOUT, 0);
        });
        return 0;
    }

    void act(curl_socket_t fd, int events) {
        int running = 0;
        curl_multi_socket_action(multi_.get(), fd, events, &running);
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            const CURLcode result = message->data.result;
            char* user = nullptr;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &user);
            auto& exchange = *reinterpret_cast<Exchange*>(user);
            exchange.result = result;
            exchange.over.set();
        }
    }

    asio::any_io_executor executor_;
    std::string certificates_;
    Multi multi_;
    std::map<curl_socket_t, Socket> sockets_;
    asio::steady_timer timer_;
};

}  // namespace

std::unique_ptr<Http> curl_http(asio::any_io_executor executor, const std::string& certificates) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready != CURLE_OK) throw std::runtime_error("cannot set libcurl up");
    return std::make_unique<CurlHttp>(std::move(executor), certificates);
}

}  // namespace lastcall::aws
