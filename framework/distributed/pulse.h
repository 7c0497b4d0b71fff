#pragma once

#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "framework/distributed/process_group.h"

namespace casdm {

/// Increments a counter in a key-value store once a second while the process lives. If the store does not answer for
/// too long, it ends the process, since calls to the store could block as long as the network does.
class Pulse {
 public:
  /// @param lament  printed when it ends the process; may be empty
  Pulse(c10::intrusive_ptr<c10d::Store> store, std::string key, std::chrono::seconds patience, std::string lament);
  ~Pulse();
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

 private:
  using Clock = std::chrono::steady_clock;

  bool waits();
  void beat();
  void watch();

  c10::intrusive_ptr<c10d::Store> store_;
  std::string key_;
  std::chrono::seconds patience_;
  std::string lament_;
  std::mutex mutex_;
  std::condition_variable over_;
  bool is_over_ = false;
  std::atomic<Clock::time_point> begin_ = Clock::time_point::max();  ///< of the beat in progress
  std::thread beating_;
  std::thread watching_;
};

}  // namespace casdm
