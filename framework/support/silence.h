#pragma once

#include <streambuf>

#include "casdm/log.h"

namespace casdm {

/// While this object lives, output to std::cerr and to components' logs is discarded.
class Silence {
 public:
  Silence();
  ~Silence();
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  class Nowhere final : public std::streambuf {
    int overflow(int character) override { return traits_type::not_eof(character); }
  };
  Nowhere nowhere_;
  std::streambuf* before_;
  LogSink log_before_;
};

}  // namespace casdm
