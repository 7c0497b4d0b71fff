#pragma once

#include <string>

#include "casdm/error.h"

namespace casdm::testing {

/// The message of the E that `action` throws; "nothing thrown" if it does not throw.
template <class E = Error, class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing thrown";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace casdm::testing
