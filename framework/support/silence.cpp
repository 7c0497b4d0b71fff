#include "framework/support/silence.h"

#include <iostream>
#include <utility>

namespace casdm {

Silence::Silence() : before_(std::cerr.rdbuf(&nowhere_)), log_before_(set_log_sink([](const LogLine&) {})) {}

Silence::~Silence() {
  set_log_sink(std::move(log_before_));
  std::cerr.rdbuf(before_);
}

}  // namespace casdm
