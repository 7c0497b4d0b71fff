#include "framework/support/exception_text.h"

#include <c10/util/Exception.h>

namespace casdm {

std::string exception_text(const std::exception& error) {
  const auto* from_libtorch = dynamic_cast<const c10::Error*>(&error);
  return from_libtorch != nullptr ? from_libtorch->what_without_backtrace() : error.what();
}

}  // namespace casdm
