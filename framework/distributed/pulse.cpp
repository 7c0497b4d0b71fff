#include "framework/distributed/pulse.h"

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>

namespace casdm {

Pulse::Pulse(c10::intrusive_ptr<c10d::Store> store, std::string key, std::chrono::seconds patience, std::string lament)
    : store_(std::move(store)),
      key_(std::move(key)),
      patience_(patience),
      lament_(std::move(lament)),
      beating_([this] { beat(); }),
      watching_([this] { watch(); }) {}

Pulse::~Pulse() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  over_.notify_all();
  beating_.join();
  watching_.join();
}

/// Waits until the next beat is due; false: there will be none.
bool Pulse::waits() {
  std::unique_lock lock(mutex_);
  return !over_.wait_for(lock, std::chrono::seconds(1), [this] { return is_over_; });
}

void Pulse::beat() {
  try {
    while (waits()) {
      begin_.store(Clock::now());
      store_->add(key_, 1);
      begin_.store(Clock::time_point::max());
    }
  } catch (const std::exception&) {  // the store is gone; whoever needs it next reports that
    begin_.store(Clock::time_point::max());
  }
}

void Pulse::watch() {
  while (waits()) {
    const Clock::time_point begin = begin_.load();
    if (begin > Clock::now() - patience_) continue;
    if (!lament_.empty()) std::fprintf(stderr, "casdm: %s\n", lament_.c_str());
    ::_exit(1);
  }
}

}  // namespace casdm
