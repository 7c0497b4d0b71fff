#include "framework/distributed/reach.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <thread>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

/// The addresses of a machine; null, with the reason, if there are none.
Addresses addresses_of(const std::string& host, std::uint16_t port, int type, std::string& reason) {
  addrinfo wanted{};
  wanted.ai_socktype = type;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found);
  if (failure != 0) reason = text("its name has no address: ", ::gai_strerror(failure));
  return {failure == 0 ? found : nullptr, &::freeaddrinfo};
}

class Socket {
 public:
  explicit Socket(const addrinfo& address)
      : descriptor_(::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

/// Whether a connection succeeds, and if not, why.
bool is_reached(const addrinfo& address, std::string& reason) {
  constexpr int kPatience = 2000;  // milliseconds
  const Socket socket(address);
  int failure = ::connect(socket.descriptor(), address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (failure == EINPROGRESS) {
    pollfd waiting{socket.descriptor(), POLLOUT, 0};
    socklen_t size = sizeof(failure);
    if (::poll(&waiting, 1, kPatience) <= 0) {
      failure = ETIMEDOUT;
    } else if (::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
      failure = errno;
    }
  }
  if (failure != 0) reason = std::strerror(failure);
  return failure == 0;
}

}  // namespace

void wait_for_listener(const std::string& host, std::uint16_t port, double seconds,
                       const std::function<bool()>& is_cancelled) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  std::string reason;
  int tries = 0;
  while (!is_cancelled()) {
    ++tries;
    const Addresses addresses = addresses_of(host, port, SOCK_STREAM, reason);
    for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
      if (is_reached(*address, reason)) return;
    }
    if (Clock::now() > end) {
      throw Error(text("nothing answers at ", quoted(host), " port ", port, ": ", reason, " (tried ", tries,
                       " times in ", std::lround(seconds), " s)"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  throw Error(text("stopped while nothing answered at ", quoted(host), " port ", port, ": ", reason));
}

std::string own_address_towards(const std::string& host, std::uint16_t port) {
  std::string reason;
  const Addresses addresses = addresses_of(host, port, SOCK_DGRAM, reason);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    const Socket socket(*address);
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    auto* const name = reinterpret_cast<sockaddr*>(&own);
    if (::connect(socket.descriptor(), address->ai_addr, address->ai_addrlen) != 0) continue;
    if (::getsockname(socket.descriptor(), name, &size) != 0) continue;
    std::array<char, NI_MAXHOST> digits{};
    if (::getnameinfo(name, size, digits.data(), digits.size(), nullptr, 0, NI_NUMERICHOST) == 0) return digits.data();
  }
  return "";
}

}  // namespace casdm
